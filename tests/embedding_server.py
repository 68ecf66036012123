"""A server of embeddings in the test's own process, over real HTTP, that misbehaves on request."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from fake_encoder import WORDS

DIM = len(WORDS) + 1


def vector(text: str, dim: int = DIM) -> list[float]:
    """How often each of the fake encoder's words stands in the text, and 1 more; not of unit length."""
    words = text.lower().split()
    return [*(float(words.count(word)) for word in WORDS), 1.0, *[0.5] * (dim - DIM)][:dim]


def expected(texts: list[str]) -> np.ndarray:
    """(n, DIM) what an encoder should make of the answers."""
    rows = np.array([vector(text) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class EmbeddingServer(ThreadingHTTPServer):
    """Answers POST /v1/embeddings.

    `misbehave(n, texts)` is asked for the n-th request (from 0): None to answer, or one of the MISDEEDS. `requests`
    has the body of each request, `keys` the Authorization of each, `asked` how often each text came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.misbehave: Callable[[int, list[str]], str | None] = lambda n, texts: None
        self.dim = DIM
        self.most_at_once = 0
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serving() -> Iterator[EmbeddingServer]:
    """A server, until the end of the context."""
    with EmbeddingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            n = len(self.server.requests)
            self.server.requests.append(body)
            self.server.keys.append(self.headers["Authorization"])
            self.server.asked.update(body["input"])
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            misdeed = self.server.misbehave(n, body["input"])
            MISDEEDS[misdeed](self, body)
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def answer(self, body: dict[str, Any], *, change: Callable[[dict[str, Any]], None] = lambda made: None) -> None:
        items = []
        for index, text in enumerate(body["input"]):
            numbers: Any = vector(text, self.server.dim)
            if body.get("encoding_format") == "base64":
                numbers = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()
            items.append({"object": "embedding", "index": index, "embedding": numbers})
        made = {"object": "list", "data": items, "model": "fake-v2", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        change(made)
        self.reply(200, json.dumps(made))

    def fail(self, status: int, message: str, **headers: str) -> None:
        self.reply(status, json.dumps({"error": {"message": message, "type": "x", "code": "y"}}), **headers)

    def reply(self, status: int, text: str, *, length: int | None = None, **headers: str) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        with suppress(ConnectionError):  # of a client that was killed
            self.wfile.write(data)


def _set(index: int, numbers: Any) -> Callable[[dict[str, Any]], None]:
    return lambda made: made["data"][index].update(embedding=numbers)


def _floats(handler: _Handler, body: dict[str, Any]) -> None:
    handler.answer(body | {"encoding_format": "float"})


def _refuse(handler: _Handler, body: dict[str, Any]) -> None:
    key = (handler.headers["Authorization"] or "").removeprefix("Bearer ")
    handler.fail(401, f"Incorrect API key provided: {key[:8]}***{key[-4:]} ({key}). See your account.")


NAN = base64.b64encode(np.full(DIM, np.nan, "<f4").tobytes()).decode()
ZERO = base64.b64encode(np.zeros(DIM, "<f4").tobytes()).decode()

MISDEEDS: dict[str | None, Callable[[_Handler, dict[str, Any]], None]] = {
    None: lambda h, body: h.answer(body),
    "401": _refuse,
    "404": lambda h, body: h.fail(404, f"The model {body['model']} does not exist"),
    "413": lambda h, body: h.fail(413, "batch size 64 > maximum allowed batch size 32"),
    "429": lambda h, body: h.fail(429, "Rate limit reached", Retry_After="1"),
    "500": lambda h, body: h.fail(500, f"It broke. {h.headers['Authorization']}"),
    "cut": lambda h, body: h.reply(200, '{"object": "list", "da', length=1000),
    "no json": lambda h, body: h.reply(200, "<html>Welcome to the hotel's network</html>", Content_Type="text/html"),
    "half json": lambda h, body: h.reply(200, '{"object": "list", "data": ['),
    "other json": lambda h, body: h.reply(200, '{"object": "list"}'),
    "too few": lambda h, body: h.answer(body, change=lambda made: made["data"].pop()),
    "twice": lambda h, body: h.answer(body, change=lambda made: made["data"][0].update(index=1)),
    "shuffled": lambda h, body: h.answer(body, change=lambda made: made["data"].reverse()),
    "floats": _floats,
    "short": lambda h, body: h.answer(body, change=_set(1, [1.0, 2.0])),
    "nan": lambda h, body: h.answer(body, change=_set(1, NAN)),
    "zero": lambda h, body: h.answer(body, change=_set(1, ZERO)),
    "infinite": lambda h, body: h.answer(body, change=_set(1, [1e300] * DIM)),
    "not base64": lambda h, body: h.answer(body, change=_set(1, "a*b")),
    "odd base64": lambda h, body: h.answer(body, change=_set(1, "YWJjZGU=")),
}
