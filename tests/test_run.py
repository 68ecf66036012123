"""The server as a process of its own: where it listens, how it ends, and what a lost worker costs.

Its store has vectors of which nobody knows the model: it answers by words, and no model has to be loaded.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import httpx
import numpy as np
import pytest
from corpora import records, write
from serving import free_port

from embedsearch.build import build_index
from embedsearch.errors import OptionError, ServerError, StoreNotFound
from embedsearch.server import supervisor
from embedsearch.server.keys import Role, add_key
from embedsearch.server.listening import address, listen, of_worker, share
from embedsearch.server.options import ServeOptions
from embedsearch.server.run import serve

SEARCH = "/v1/search?q=star&mode=keyword&k=3"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    made = records(30)
    vectors = np.random.default_rng(0).normal(size=(len(made), 8)).astype(np.float32)
    np.savez(folder / "vectors.npz", ids=np.array([record["id"] for record in made]), vectors=vectors)
    build_index(write(folder / "papers.jsonl", made), folder / "index", vectors=folder / "vectors.npz")
    return folder / "index"


class Running:
    """A process of `embedsearch serve`, and what it says."""

    def __init__(self, index: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        command = [sys.executable, "-m", "embedsearch", "serve", "--index", str(index), "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += iter(self.process.stderr.readline, "")

    def said(self, what: str) -> int:
        """In how many lines."""
        return sum(what in line for line in list(self.lines))

    def children(self) -> set[int]:
        """The workers' process ids."""
        done = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=False
        )
        return set(map(int, done.stdout.split()))

    def end(self, sig: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(sig)
        return self.code()

    def code(self) -> int:
        """The exit code, when it has ended."""
        code = self.process.wait(60)
        self._reader.join()
        return code


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def running(index: Path, *arguments: str) -> Iterator[Running]:
    """A server that is ready, all its workers too."""
    server = Running(index, *arguments)
    n_workers = int(arguments[arguments.index("--workers") + 1]) if "--workers" in arguments else 1
    try:
        until(lambda: server.process.poll() is not None or bool(server.said("listening on")))
        assert server.process.poll() is None, server.lines
        until(lambda: len(listening(server.port)) >= n_workers)
        yield server
    finally:
        server.process.kill()
        server.code()
        assert server.process.stderr is not None
        server.process.stderr.close()


def listening(port: int) -> list[str]:
    """The sockets that listen on a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return [line for line in lines if f":{port:04X} 00000000:0000 0A" in line]


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@linux
@pytest.mark.parametrize(("workers", "sig"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_what_is_under_way_is_answered_and_nothing_else(index: Path, workers: str, sig: int) -> None:
    with running(index, "--workers", workers) as server:
        assert httpx.get(server.url + SEARCH).status_code == 200
        assert server.said("listening on") == 1
        begun, rest = half_request(server.port)
        with begun:
            server.process.send_signal(sig)
            until(lambda: not listening(server.port))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port), timeout=60)
            begun.sendall(rest)
            answer = begun.recv(1 << 16)
        assert b"200 OK" in answer
        assert b"connection: close" in answer
        assert server.code() == 0
        assert not server.said("Traceback")


def half_request(port: int) -> tuple[socket.socket, bytes]:
    """A connection on which the server has begun to read a request, and the rest of that."""
    body = json.dumps({"query": "star", "mode": "keyword"}).encode()
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
    time.sleep(0.5)
    return client, body[5:]


@linux
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_interrupt_ends_it_at_once(index: Path, workers: str) -> None:
    with running(index, "--workers", workers) as server:
        begun, _ = half_request(server.port)
        with begun:
            server.process.send_signal(signal.SIGINT)
            until(lambda: not listening(server.port))
            assert server.end(signal.SIGINT) == 130


@linux
def test_what_takes_too_long_is_cut_off(index: Path) -> None:
    with running(index, "--drain", "0.5") as server:
        begun, _ = half_request(server.port)
        with begun:
            assert server.end(signal.SIGTERM) == 0
            assert b"503 Service Unavailable" in begun.recv(1 << 16)


@linux
def test_connections_are_dealt_out_and_a_lost_worker_is_replaced(index: Path) -> None:
    with running(index, "--workers", "2") as server:
        before = server.children()
        assert len(before) == 2
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(40)]
        n_open = {pid: sockets_of(pid) for pid in before}
        for client in clients:
            client.close()
        assert all(n_open[pid] > 5 + sockets_of(pid) for pid in before)
        lost = max(before)
        stop, codes, failures = threading.Event(), [], []

        def ask() -> None:
            while not stop.is_set():
                try:
                    codes.append(httpx.get(server.url + SEARCH).status_code)
                except httpx.TransportError as error:
                    failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: len(codes) > 20)
        os.kill(lost, signal.SIGKILL)
        until(lambda: bool(server.said(f"worker {lost} ended (SIGKILL)")))
        n = len(codes)
        until(lambda: len(codes) > n + 20)  # the other one goes on
        until(lambda: len(server.children()) == 2 and len(listening(server.port)) == 2)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(codes) == {200}
        assert len(failures) <= 4  # what the lost one had taken
        assert server.end(signal.SIGTERM) == 0


@linux
def test_a_worker_that_cannot_start_again_is_tried_until_it_can_and_none_outlives_its_parent(
    index: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "index"
    shutil.copytree(index, moved)
    with running(moved, "--workers", "2") as server:
        moved.rename(tmp_path / "aside")
        lost = max(server.children())
        os.kill(lost, signal.SIGKILL)
        until(lambda: server.said("ended (exit code 3)") >= 1)
        assert server.said("A worker cannot start: ") == 1
        assert server.said("another one starts in 2 s") == 1
        assert httpx.get(f"{server.url}/healthz").status_code == 200  # the other one goes on
        assert not server.said("Traceback")
        (tmp_path / "aside").rename(moved)
        until(lambda: len(listening(server.port)) == 2)
        server.process.kill()
        until(lambda: not listening(server.port))  # workers do not outlive their parent


def sockets_of(pid: int) -> int:
    time.sleep(0.3)
    return sum(os.readlink(entry).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())


def test_a_port_in_use_is_one_line(index: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        for workers in (1, 2):
            with pytest.raises(
                ServerError, match=f"expected port {port} of 127.0.0.1 to be free, found another server"
            ):
                serve(ServeOptions(index=index, port=port, workers=workers))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.0.2.1", "found '192.0.2.1': choose one"), ("no.such.host.invalid", "expected an address")],
)
def test_a_host_that_is_not_ours(index: Path, host: str, expected: str) -> None:
    with pytest.raises(ServerError, match=expected):
        serve(ServeOptions(index=index, host=host, port=0, insecure=True))


def test_no_index_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        serve(ServeOptions(index=tmp_path / "none", port=0))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_others_are_not_let_in_without_a_key(index: Path, host: str) -> None:
    with pytest.raises(OptionError, match="expected a key where others than this machine can ask"):
        serve(ServeOptions(index=index, host=host, port=0))


def test_with_a_key_others_are(index: Path, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "ada", role=Role.READ)
    with pytest.raises(ServerError, match=r"found '192\.0\.2\.1'"):  # refused for its address alone
        serve(ServeOptions(index=index, host="192.0.2.1", port=0, keys_file=tmp_path / "keys.json"))


def test_a_broken_file_of_keys_is_an_error_at_the_start(index: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(ServerError, match="expected a file of keys"):
        serve(ServeOptions(index=index, port=0, keys_file=tmp_path / "keys.json"))


def test_addresses() -> None:
    with listen("127.0.0.1", 0) as here:
        assert address(here) == f"http://127.0.0.1:{here.getsockname()[1]}"


@linux
def test_a_shared_port_is_held_and_given_to_no_other() -> None:
    with share(listen("127.0.0.1", 0)) as held, of_worker(held) as one, of_worker(held) as two:
        port = held.getsockname()[1]
        assert one.getsockname() == two.getsockname() == held.getsockname()
        one.listen()
        with pytest.raises(ServerError, match=f"expected port {port} of 127.0.0.1 to be free"):
            listen("127.0.0.1", port)


class StillProcess:
    """A worker that lives and says nothing, as one does while it loads a model, or for ever."""

    pid = exitcode = None

    def __init__(self, config: object, sockets: object) -> None:
        self.parent_conn, self.child_conn = multiprocessing.Pipe()
        self.process = mock.Mock()

    def start(self) -> None:
        """Nothing to start."""


def test_a_silent_worker_is_given_time_to_load_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WorkerProcess", StillProcess)
    with share(listen("127.0.0.1", 0)) as held:
        worker = supervisor.Worker(mock.Mock(), held)
    clock = mock.Mock()  # of this module alone: to wait for a pipe takes the real one
    monkeypatch.setattr(supervisor, "time", clock)
    now = time.monotonic()
    for seconds in (0, 60, 119):
        clock.monotonic.return_value = now + seconds
        worker.ask()
        worker.process.process.kill.assert_not_called()
    assert worker.process.child_conn.recv() == b"ping"
    assert not worker.process.child_conn.poll(0)  # it was asked once
    worker.process.child_conn.send(True)
    worker.ask()
    assert worker.was_ready
    clock.monotonic.return_value = now + 119 + 121
    worker.ask()
    worker.process.process.kill.assert_called_once()
