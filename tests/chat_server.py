"""A server of chat answers in the test's own process, over real HTTP, that misbehaves on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ChatServer(ThreadingHTTPServer):
    """Answers POST /v1/chat/completions with `answer(body)`: a status, and what is sent as JSON, or as it is if text.

    `requests` has the body of each request, `keys` the Authorization of each.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[dict[str, Any]], tuple[int, Any]] = lambda body: (200, spoken("and so on."))
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(body | {"path": self.path})
            self.server.keys.append(self.headers["Authorization"])
        status, made = self.server.answer(body)
        data = (made if isinstance(made, str) else json.dumps(made)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def chatting() -> Iterator[ChatServer]:
    """A server, until the end of the context."""
    with ChatServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def spoken(text: str | None, *, reason: str = "stop", n_tokens: int = 7) -> dict[str, Any]:
    """An answer of the chat API."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "fake-chat",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": n_tokens, "total_tokens": 1 + n_tokens},
    }  # fmt: skip
