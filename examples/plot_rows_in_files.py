"""
Training on rows in files
=========================

Each day, the clicks of a shop are written to a file. ``fit_stream`` trains on all of these files,
which need not fit into memory together, and ``predict_stream`` predicts for a file and writes the
probabilities to another one. This needs pyarrow: ``python -m pip install "skfm[tables]"``.
"""

# %%
# A folder of files
# -----------------
# There are ten days, with few clicks here, so that the example takes seconds. Whether an
# advertisement is clicked depends on who sees it where; some days have more clicks than others.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.preprocessing import TableEncoder
from skfm.streams import Rows, predict_stream

N_DAYS, N_ROWS = 10, 12_000
COLUMNS = {"user": 1000, "ad": 200, "page": 50}

rng = np.random.default_rng(0)
weights = {name: 0.5 * rng.normal(size=n) for name, n in COLUMNS.items()}
factors = {name: 0.8 * rng.normal(size=(n, 3)) for name, n in COLUMNS.items()}


def draw_day(day):
    """A table of clicks, and the true probability of each."""
    level = {name: (n * rng.random(N_ROWS) ** 2).astype(int) for name, n in COLUMNS.items()}
    user, ad, page = (factors[name][level[name]] for name in COLUMNS)
    logit = -1.5 + 0.2 * np.sin(day) + ((user + page) * ad).sum(axis=1)
    logit += sum(weights[name][level[name]] for name in COLUMNS)
    truth = 1 / (1 + np.exp(-logit))
    table = pd.DataFrame({name: [f"{name}-{n}" for n in level[name]] for name in COLUMNS})
    return table.assign(click=rng.random(N_ROWS) < truth), truth


temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
for day in range(N_DAYS):
    table, truth = draw_day(day)
    table.to_parquet(folder / f"day-{day}.parquet")
paths = sorted(folder.glob("day-*.parquet"))

# %%
# Train
# -----
# The ninth day is for early stopping, the tenth for the test. The encoder learns the categories in
# a pass over the training files, and encodes the other days in the same way. The encoded rows are
# kept in the folder ``cache``: when the program runs again, it does not read the files again. A
# program that is killed continues from the checkpoint. Here, Control-C ends the first attempt.


def control_c(estimator, epoch, loss):
    if epoch == 3:
        raise KeyboardInterrupt


rows = Rows(paths[:8], target="click", cache=folder / "cache")
rows_val = Rows(paths[8], target="click", encoder=rows.encoder_)
options = {"rows_val": rows_val, "checkpoint": folder / "fit.ckpt"}
try:
    FMClassifier(random_state=0, callback=control_c).fit_stream(rows, **options)
except KeyboardInterrupt:
    print("Interrupted; the checkpoint has", (folder / "fit.ckpt").stat().st_size, "bytes.")
model = FMClassifier(random_state=0).fit_stream(rows, **options)
print(rows)

# %%
# Predict
# -------
# The probabilities of the tenth day, in the order of its rows:

new = Rows(paths[9], encoder=rows.encoder_)
n_rows = predict_stream(model, new, output=folder / "probabilities.parquet")
probabilities = pd.read_parquet(folder / "probabilities.parquet")
print(probabilities.head(3))

# %%
# Compare with a fit in memory
# ----------------------------
# Rows with up to eight million entries are read at once, and passed to ``fit``: then the models
# are the same. With more rows, each epoch reads them in another random order, and the models
# differ slightly, as after a fit with another ``random_state``.

training = pd.concat([pd.read_parquet(path) for path in paths[:8]], ignore_index=True)
validation, test = pd.read_parquet(paths[8]), pd.read_parquet(paths[9])
encoder = TableEncoder(dtype=np.float32)
X, *others = (
    encode(table.drop(columns="click"))
    for encode, table in (
        (encoder.fit_transform, training),
        (encoder.transform, validation),
        (encoder.transform, test),
    )
)
in_memory = FMClassifier(random_state=0).fit(
    X, training["click"], X_val=others[0], y_val=validation["click"]
)
losses = [
    log_loss(test["click"], probability)
    for probability in (probabilities.to_numpy(), in_memory.predict_proba(others[1]), truth)
]
print("Log loss: files {:.4f}, in memory {:.4f}, the truth {:.4f}".format(*losses))

# %%
# What more files are worth
# -------------------------
# Each point is a model that was trained on the first files only. Most users see few
# advertisements, so more days still help: a sample that fits into memory would not be as good.

counts = [1, 2, 4, 8]
found = []
for count in counts:
    some = Rows(paths[:count], target="click", encoder=rows.encoder_)
    some_model = FMClassifier(random_state=0).fit_stream(some, rows_val=rows_val)
    found.append(log_loss(test["click"], np.vstack(list(predict_stream(some_model, new)))))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.plot(counts, found, "o-", label="trained on files")
left.plot(counts[-1], losses[1], "x", color="C1", markersize=11, label="in memory, all files")
left.axhline(losses[2], color="gray", linestyle=":", label="true probabilities")
left.set(xlabel="files", ylabel="log loss of the tenth day", xscale="log")
left.set_xticks(counts, counts, minor=False)
left.minorticks_off()
left.legend()
scores = -np.array(model.validation_scores_)
right.plot(np.arange(1, len(scores) + 1), scores)
right.axvline(3, color="gray", linewidth=0.8)
right.annotate("interrupted", (3, scores.max()), (4, -8), textcoords="offset points")
right.plot(scores.argmin() + 1, scores.min(), "o", color="C0")
right.set(xlabel="epoch", ylabel="log loss of the ninth day")
plt.show()
temporary.cleanup()
