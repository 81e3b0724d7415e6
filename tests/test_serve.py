"""The service of examples/serve.py."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def serve():
    """The example."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        import serve
    return serve


@pytest.fixture(scope="module")
def served(serve):
    """What the example has fitted, and a client."""
    from fastapi.testclient import TestClient

    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=400), rng.integers(20, size=400)
    log = [
        (f"user {u}", f"film {i}", float(1 + (u * i) % 5))
        for u, i in zip(users, items, strict=True)
    ]
    fitted = serve.fit(log, n_components=2, max_iter=3)
    return fitted, TestClient(serve.make_app(**fitted))


def ask(client, **question):
    return client.post("/recommend", json=question)


def test_known_users_and_events(served):
    fitted, client = served
    encoder, model, ratings = fitted["encoder"], fitted["model"], fitted["ratings"]
    row = ratings[3]
    items, scores = model.recommend(row, 4)
    expected = [
        {"item": encoder.item_ids_[i], "score": pytest.approx(s)}
        for i, s in zip(items[0], scores[0], strict=True)
    ]
    events = [
        {"item": encoder.item_ids_[i], "value": v}
        for i, v in zip(row.indices, row.data, strict=True)
    ]
    for who in ({"user": encoder.user_ids_[3]}, {"events": events}):
        answer = ask(client, n_items=4, **who)
        assert answer.status_code == 200
        assert answer.json() == expected


def test_candidates_and_seen_items(served):
    fitted, client = served
    user = fitted["encoder"].user_ids_[0]
    seen = fitted["encoder"].item_ids_[fitted["ratings"][0].indices].tolist()
    found = [r["item"] for r in ask(client, user=user, n_items=100).json()]
    assert sorted(found + seen) == sorted(fitted["encoder"].item_ids_)
    options = {"candidates": seen, "exclude_seen": False, "n_items": 20}
    assert sorted(r["item"] for r in ask(client, user=user, **options).json()) == sorted(seen)


@pytest.mark.parametrize(
    ("question", "status", "reason"),
    [
        ({"user": "nobody"}, 404, "unknown user 'nobody'; pass events instead"),
        ({"events": [{"item": "Vertigo"}]}, 422, "Vertigo"),
        ({"user": "user 1", "candidates": ["Vertigo"]}, 422, "Vertigo"),
        ({}, 422, "either user or events"),
        ({"user": "user 1", "events": [{"item": "film 1"}]}, 422, "either user or events"),
        ({"user": "user 1", "n_items": 0}, 422, "n_items: Input should be greater"),
        ({"user": "user 1", "n_item": 3}, 422, "n_item: Extra inputs"),
        ({"user": 7}, 422, "user: Input should be a valid string"),
        ({"events": []}, 422, "events: List should have at least 1 item"),
        ({"events": [{"item": "film 1", "value": "good"}]}, 422, "events.0.value"),
        ({"user": "user 1", "candidates": []}, 422, "candidates"),
    ],
)
def test_bad_requests_say_why(served, question, status, reason):
    answer = ask(served[1], **question)
    assert answer.status_code == status
    assert reason in answer.json()["detail"]


def test_bodies_that_are_no_questions(served):
    client = served[1]
    for body in ('{"events": [{"item": "film 1", "value": NaN}]}', "{", "[]", ""):
        answer = client.post(
            "/recommend", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.json()["detail"]


def test_nothing_left_to_recommend(served):
    """All candidates are seen: an empty list, or the reason."""
    fitted, client = served
    seen = fitted["encoder"].item_ids_[fitted["ratings"][0].indices].tolist()
    answer = ask(client, user=fitted["encoder"].user_ids_[0], candidates=seen)
    assert answer.status_code == 200
    assert answer.json() == []


def test_health(served):
    assert served[1].get("/health").json() == {"n_users": 30, "n_items": 20}


def test_logs_without_values(serve, tmp_path):
    """As a log of clicks, saved and loaded; the values of events do not matter."""
    from fastapi.testclient import TestClient

    log = [("ann", "pen"), ("ann", "ink"), ("bob", "pen"), ("bob", "ink"), ("eve", "pen")]
    log += [("dan", "tea"), ("dan", "cup"), ("fay", "cup")]
    serve.save(serve.fit(log, n_components=2, feedback="implicit"), tmp_path / "new" / "folder")
    client = TestClient(serve.make_app(**serve.load(tmp_path / "new" / "folder")))
    for event in ({"item": "pen"}, {"item": "pen", "value": 3}):
        answer = ask(client, events=[event], n_items=1).json()
        assert [found["item"] for found in answer] == ["ink"]


@pytest.mark.full
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_serve_a_folder(serve, served, tmp_path, workers):
    import httpx

    fitted, client = served
    serve.save(fitted, tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, EXAMPLES / "serve.py", "serve", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    service = subprocess.Popen(
        [*map(str, command), "--port", str(port), "--workers", str(workers)], env=environment
    )
    question = {"user": fitted["encoder"].user_ids_[5]}
    try:
        for _ in range(600):
            assert service.poll() is None
            try:
                answer = httpx.post(f"http://127.0.0.1:{port}/recommend", json=question)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert answer.json() == ask(client, **question).json()
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(timeout=30)
