"""Servers for tests: in this process over real HTTP, or the command in one of its own."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from corpora import records, write
from fake_encoder import FakeEncoder
from starlette.types import ASGIApp

from embedsearch.build import build_index
from embedsearch.encoders import Encoder
from embedsearch.server.app import create_app
from embedsearch.server.engine import Engine
from embedsearch.server.options import Limits, ServeOptions
from embedsearch.server.protocol import BoundedProtocol


def make_store(folder: Path, n: int = 60, *, seed: int = 0, encoder: Encoder | None = None) -> Path:
    """A store of n of corpora's papers under the fake encoder, in `folder`/index."""
    folder.mkdir(parents=True, exist_ok=True)
    papers = write(folder / f"papers-{seed}.jsonl", records(n, seed=seed))
    build_index(papers, folder / "index", encoder=encoder or FakeEncoder())
    return folder / "index"


@contextmanager
def in_process(index: Path, *, encoder: Encoder | None = None, **options: Any) -> Iterator[str]:
    """The URL of a server for `index` that runs in a thread; queries are embedded by `encoder`, else a FakeEncoder."""
    told = ServeOptions(index=index, port=0, **options)
    app = create_app(told, engine=Engine(told, encoder=encoder or FakeEncoder()))
    with in_thread(app, told.limits, lifespan="on") as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def in_thread(app: ASGIApp, limits: Limits, **config: Any) -> Iterator[int]:
    """The port of a server for any application, with the bounds that `embedsearch serve` has."""
    protocol: Any = functools.partial(BoundedProtocol, limits=limits)
    told = uvicorn.Config(app, http=protocol, ws="none", log_level="critical", server_header=False, **config)
    server = uvicorn.Server(told)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            assert server.started, "the server did not start"
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not end"


@dataclass(frozen=True)
class Command:
    """A running `embedsearch serve`."""

    url: str
    process: subprocess.Popen[str]
    said: list[str]
    """Its lines on stderr so far; they are read as they come, since a full pipe would stop it."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def as_command(index: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Command]:
    """`embedsearch serve --index INDEX --port FREE ARGUMENTS` in a process of its own, ready; killed at the end."""
    port = free_port()
    command = [sys.executable, "-m", "embedsearch", "serve", "--index", str(index), "--port", str(port), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {}))
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reading.start()
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            if process.poll() is not None:
                raise AssertionError(f"the server ended: {''.join(said)}")
            try:
                if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield Command(url, process, said)
    finally:
        process.kill()
        process.wait()
        reading.join()
        if process.stderr is not None:
            process.stderr.close()
