"""Explanations as text and as DataFrames."""

import numpy as np

N_SAMPLES, N_TERMS, N_CLASSES = 3, 10, 6  # that are printed
TIMES = " × "  # noqa: RUF001 -- the sign of multiplication


def text_of(explanation):
    """The largest terms of the first samples, a line for each."""
    n_samples = len(explanation.output)
    explanation = explanation._first(N_SAMPLES)
    shown = explanation.top(N_TERMS)
    classes, columns = _classes_shown(explanation)
    blocks = []
    for sample in range(len(explanation.output)):
        lines = _lines_of(explanation, shown, sample, classes, columns)
        blocks.append("\n".join(lines))
    if n_samples > N_SAMPLES:
        blocks.append(f"... and {n_samples - N_SAMPLES} more samples")
    return "\n\n".join(blocks) or "no samples"


def _classes_shown(explanation):
    n_outputs = explanation.intercept.size
    columns = np.arange(min(n_outputs, N_CLASSES))
    if explanation.classes is None:
        return [], columns
    return [str(explanation.classes[column]) for column in columns], columns


def _lines_of(explanation, shown, sample, classes, columns):
    output = explanation.output.reshape(-1, explanation.intercept.size)
    remainder = shown.remainder.reshape(output.shape)
    contribution = shown.contribution.reshape(-1, output.shape[1])
    own = np.flatnonzero(shown.sample == sample)
    n_others = np.count_nonzero(explanation.sample == sample) - own.size
    table = [(output[sample], _title(explanation, sample)), (explanation.intercept, "intercept")]
    table += [(contribution[term], _name(shown, term)) for term in own]
    if n_others or remainder[sample].any():
        listed = f"{n_others} other terms" if n_others else "other terms"
        table.append((remainder[sample], listed))
    numbers = [[f"{value:+.4g}" for value in values[columns]] for values, _ in table]
    if classes:
        numbers.insert(0, classes)
        table.insert(0, (None, "class"))
    widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
    return [
        "  ".join([*map(str.rjust, row, widths), name])
        for row, (_, name) in zip(numbers, table, strict=True)
    ]


def _title(explanation, sample):
    title = f"output of sample {sample}"
    if explanation.item is None:
        return title
    return f"{title} (row {explanation.row[sample]}, item {explanation.item[sample]})"


def _name(explanation, term):
    features = explanation.features[term]
    return TIMES.join(str(explanation.feature_names[j]) for j in features[features >= 0])


def frame_of(explanation):
    """A DataFrame with a row for each term, or for each term and class."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f'to_frame needs pandas ({error}); install it with pip install "skfm[datasets]".'
        ) from error
    columns = {"sample": explanation.sample}
    if explanation.item is not None:
        columns["row"] = explanation.row[explanation.sample]
        columns["item"] = explanation.item[explanation.sample]
    names = np.append(explanation.feature_names.astype(object), None)  # where -1 finds it
    for place, features in enumerate(explanation.features.T, 1):
        columns["feature" if place == 1 else f"feature_{place}"] = names[features]
    n_outputs = explanation.intercept.size
    columns = {name: np.repeat(column, n_outputs) for name, column in columns.items()}
    if explanation.classes is not None:
        columns["class"] = np.tile(explanation.classes, explanation.sample.size)
    return pd.DataFrame(columns | {"contribution": explanation.contribution.ravel()})
