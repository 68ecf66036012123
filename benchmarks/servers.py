"""Servers in processes of their own, and indexes whose answers tell their generation.

Every index here is made of the same papers with the number of its generation in each title, without every twentieth
one: so an answer tells which generation it was made from, and one that mixes two is found out.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import open_corpus, sample_path

LEFT_OUT = 20
"""Generation g lacks the papers whose number is g modulo this."""


class Stores:
    """Makes generations of the same papers: the vectors are computed once and taken by id after that."""

    def __init__(self, folder: Path, *, corpus: Path | None, model: str) -> None:
        self.folder = folder
        self._corpus = folder / "papers.jsonl"
        self._vectors = folder / "vectors"
        build_index(corpus or sample_path(), self._vectors, model=model)
        self.papers = [
            {"id": paper.id, "title": paper.title, "abstract": paper.abstract, "categories": list(paper.categories)}
            for paper in open_corpus(corpus or sample_path())
        ]

    def build(self, index: Path, *, number: int) -> None:
        """Make `index` the generation of this number, which must be the one after what it holds."""
        with self._corpus.open("w") as file:
            for i, paper in enumerate(self.papers):
                if i % LEFT_OUT != number % LEFT_OUT:
                    file.write(json.dumps(paper | {"title": f"{paper['title']} {mark(number)}"}) + "\n")
        build_index(self._corpus, index, vectors=self._vectors, options=BuildOptions(overwrite=True))


def mark(number: int) -> str:
    """What the titles of a generation end in."""
    return f"generation{number:04d}"


@dataclass(frozen=True)
class Server:
    """A running `embedsearch serve`; `errors` is the file that its stderr goes to."""

    url: str
    process: subprocess.Popen[bytes]
    errors: Path

    def workers(self) -> list[int]:
        """Process ids of those that answer: its children that are Python, or itself."""
        found = [pid for pid in _children(self.process.pid) if "spawn_main" in _command(pid)]
        return found or [self.process.pid]


@contextmanager
def server(
    index: Path, *arguments: str, errors: Path, env: dict[str, str] | None = None, wrapper: Sequence[str] = ()
) -> Iterator[Server]:
    """`embedsearch serve --index INDEX ARGUMENTS` on a free port, ready; ended with SIGTERM."""
    port = free_port()
    command = [*wrapper, sys.executable, "-m", "embedsearch", "serve", "--index", str(index), "--port", str(port)]
    with errors.open("wb") as file:
        process = subprocess.Popen([*command, *arguments], stderr=file, env=os.environ | (env or {}))
    running = Server(f"http://127.0.0.1:{port}", process, errors)
    try:
        wait_ready(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(running: Server, *, seconds: float = 120) -> None:
    """Until it answers /readyz with 200."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if running.process.poll() is not None:
            raise SystemExit(f"the server ended with {running.process.returncode}: {running.errors.read_text()}")
        if status(running.url, "/readyz") == 200:
            return
        time.sleep(0.1)
    raise SystemExit(f"the server was not ready within {seconds:.0f} s: {running.errors.read_text()}")


def status(url: str, path: str) -> int:
    """Of a GET; 0 where no answer came."""
    try:
        return httpx.get(url + path, timeout=10, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def listening(url: str) -> int:
    """How many sockets listen on the port of `url`: one for each worker that is ready."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "0A" for row in rows)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
