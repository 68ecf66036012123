"""A store is changed while it is served: nothing fails, and each answer has the papers of the generation it names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import corpora
import httpx
from serving import in_process
from updating import Model

RECORDS = corpora.records(30)
PATIENCE = 20.0


class Asking:
    """A client that asks without a pause, in a thread."""

    def __init__(self, url: str) -> None:
        self.answers: list[httpx.Response] = []
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=PATIENCE) as client:
            while not self._stopping.is_set():
                about = {"q": f"star {len(self.answers)}", "mode": "dense", "k": 50}
                self.answers.append(client.get("/v1/search", params=about))

    def until(self, generation: int) -> None:
        """Wait for the next answer of this generation."""
        n, end = len(self.answers), time.monotonic() + PATIENCE
        while not any(_generation(answer) == generation for answer in self.answers[n:]):
            assert time.monotonic() < end, f"expected an answer of generation {generation}, found none"
            time.sleep(0.002)

    def stop(self) -> list[httpx.Response]:
        self._stopping.set()
        self._thread.join(PATIENCE)
        return self.answers


def _generation(answer: httpx.Response) -> int:
    return int(answer.headers["x-index-generation"])


def test_each_answer_is_of_one_generation(tmp_path: Path) -> None:
    model = Model(tmp_path, "flat")
    model.start(12)
    changes: list[Callable[[], None]] = [
        lambda: model.add(RECORDS[12:20]),
        lambda: model.remove([record["id"] for record in RECORDS[:5]]),
        model.rollback,
        lambda: model.add([RECORDS[20] | {"abstract": "star"}, RECORDS[3] | {"abstract": "dust"}]),
        model.compact,
        model.rollback,
    ]
    with in_process(model.index, poll_seconds=0.02) as url:
        asking = Asking(url)
        for change in changes:
            change()
            asking.until(model.manifest.serving.number)
        answers = asking.stop()
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert {hit["id"] for hit in answer.json()["hits"]} == model.states[_generation(answer)].papers.keys()
    assert {_generation(answer) for answer in answers} == {1, 2, 3, 4, 5}
