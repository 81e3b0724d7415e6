"""
Serving recommendations over HTTP
=================================

A small FastAPI service that recommends films by name, to users of the training data and to new
users by what they have rated::

    python -m pip install "skfm[serve,datasets]"
    python examples/serve.py train model
    python examples/serve.py serve model --workers 2

    curl -X POST localhost:8000/recommend -H "Content-Type: application/json" \\
        -d '{"events": [{"item": "Alien (1979)", "value": 5}], "n_items": 3}'

The first command downloads MovieLens-100k and writes the folder ``model``. Each worker process
loads it once; its files are not pickles. A request that cannot be answered gets a status of 404 or
422 with the reason. To serve a log of your own, fit on it in Python, in the folder of this
example, and serve the result::

    from serve import fit, save

    log = [("ann", "pen"), ("ann", "ink"), ("bob", "pen")]
    save(fit(log, feedback="implicit"), "model")
"""

import argparse
import os
import socket
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import sparse
from uvicorn.supervisors import Multiprocess

from skfm import MFRecommender
from skfm.io import load_model, save_model
from skfm.preprocessing import UserItemEncoder

MODEL_VARIABLE = "SKFM_SERVED_MODEL"  # tells the worker processes which folder to load

# %%
# The model
# ---------
# What is served: the encoder, which knows the names; the recommender; and the ratings of the users
# of the training data, from which their vectors are computed.


def fit(log, **parameters):
    """Fit on rows of a user, an item and, unless each row is one event, a value."""
    encoder = UserItemEncoder(duplicates="mean")
    ratings = encoder.fit_transform(log)
    model = MFRecommender(**{"n_components": 16, "random_state": 0, **parameters}).fit(ratings)
    return {"encoder": encoder, "model": model, "ratings": ratings}


def save(fitted, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(fitted["encoder"], folder / "encoder.npz")
    save_model(fitted["model"], folder / "model.npz")
    sparse.save_npz(folder / "ratings.npz", fitted["ratings"])


def load(folder):
    folder = Path(folder)
    return {
        "encoder": load_model(folder / "encoder.npz"),
        "model": load_model(folder / "model.npz"),
        "ratings": sparse.load_npz(folder / "ratings.npz"),
    }


def movielens_log():
    from skfm.datasets import fetch_movielens_100k

    data = fetch_movielens_100k()
    titles = data["items"].set_index("item_id")["title"]
    frame = data["frame"]
    users, items = frame["user_id"].astype(str), frame["item_id"].map(titles)
    return list(zip(users, items, frame["rating"], strict=True))


# %%
# Requests and responses
# ----------------------
# pydantic checks the requests, and the documentation at /docs is made of these classes.

Name = Annotated[str, Field(min_length=1, max_length=1000)]


class Event(BaseModel):
    """An item and its value, which does not matter if the log has no values."""

    model_config = ConfigDict(extra="forbid")

    item: Name
    value: float = Field(1.0, allow_inf_nan=False, ge=-1e6, le=1e6)


class Question(BaseModel):
    """Either a user of the training data, or the events of any user."""

    model_config = ConfigDict(extra="forbid")

    user: Name | None = None
    events: list[Event] | None = Field(None, min_length=1, max_length=10_000)
    n_items: int = Field(10, ge=1, le=1000)
    candidates: list[Name] | None = Field(None, min_length=1, max_length=10_000)
    exclude_seen: bool = True

    @model_validator(mode="after")
    def one_of_both(self):
        if (self.user is None) == (self.events is None):
            raise ValueError("pass either user or events")
        return self


class Recommendation(BaseModel):
    item: str
    score: float


# %%
# The service
# -----------


def make_app(encoder, model, ratings):
    app = FastAPI(title="Recommendations")
    rows = {str(user): row for row, user in enumerate(encoder.user_ids_)}
    model.recommend(ratings[:1], 1)  # loads the compiled kernels before the first request

    def find_ratings(question):
        if question.user is None:
            log = [("", event.item, event.value) for event in question.events]
            return encoder.transform_new_users([row[: encoder.n_columns_] for row in log])[0]
        if question.user not in rows:
            raise HTTPException(404, f"unknown user {question.user!r}; pass events instead")
        row = rows[question.user]
        return ratings[row : row + 1]

    @app.post("/recommend")
    def recommend(question: Question) -> list[Recommendation]:
        try:
            given = find_ratings(question)
            candidates = question.candidates and encoder.encode_items(question.candidates)
            items, scores = model.recommend(
                given,
                question.n_items,
                candidates=candidates,
                exclude_seen=question.exclude_seen,
            )
        except ValueError as error:  # unknown items, or nothing to choose from
            raise HTTPException(422, str(error)) from error
        return [
            Recommendation(item=str(encoder.item_ids_[item]), score=score)
            for item, score in zip(items[0], scores[0], strict=True)
            if item >= 0  # fewer items than asked for
        ]

    @app.get("/health")
    def health() -> dict[str, int]:
        return {"n_users": len(encoder.user_ids_), "n_items": len(encoder.item_ids_)}

    @app.exception_handler(RequestValidationError)
    def say_why(request: Request, error: RequestValidationError) -> JSONResponse:
        """One sentence for each mistake; FastAPI would repeat the input, which may be NaN."""
        reasons = [
            f"{'.'.join(map(str, reason['loc'][1:])) or 'body'}: {reason['msg']}"
            for reason in error.errors()
        ]
        return JSONResponse({"detail": "; ".join(reasons)}, 422)

    return app


def app_of_worker():
    """The application in each worker process of uvicorn."""
    return make_app(**load(os.environ[MODEL_VARIABLE]))


def main():
    parser = argparse.ArgumentParser(description="Train or serve a recommender.")
    parser.add_argument("action", choices=["train", "serve"])
    parser.add_argument("folder", help="the model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.action == "train":
        save(fit(movielens_log()), options.folder)
        return
    os.environ[MODEL_VARIABLE] = options.folder
    config = uvicorn.Config(
        "serve:app_of_worker",
        factory=True,
        host=options.host,
        port=options.port,
        workers=options.workers,
        log_level="warning",
        timeout_worker_healthcheck=60,  # seconds; importing takes a few on a busy machine
    )
    listener = config.bind_socket()
    # The workers inherit it. Otherwise, the body of an answer waits about 40 ms for the client to
    # acknowledge the headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
