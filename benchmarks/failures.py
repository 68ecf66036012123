"""What clients see when something breaks: a table.

    python -m benchmarks.failures [--corpus papers.jsonl] [--seconds 10] [--only killed,deleted,full,stopped,memory]

killed    SIGKILL of one of two workers under load, asked directly and, where it is installed, through nginx
deleted   the folder of the index is removed under load, and put back
full      no space for temporary files (metrics) and messages; needs the right to mount a tmpfs
stopped   SIGTERM under load
memory    resident and proportional set of 1 and of 4 workers, after some queries
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fronting import NGINX, in_front

from benchmarks.clients import Load, Seen, clients, quantiles
from benchmarks.servers import Server, Stores, listening, server, status


class Bench:
    """One index, and how long each scene lasts."""

    def __init__(self, folder: Path, *, corpus: Path | None, seconds: float) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.seconds = seconds
        self.stores = Stores(folder, corpus=corpus, model="minilm")
        self.stores.build(self.index, number=1)

    @contextmanager
    def serve(self, *arguments: str) -> Iterator[Server]:
        """A server of the index that logs no requests."""
        with server(self.index, *arguments, "--log-format", "none", errors=self.folder / "errors.txt") as running:
            yield running

    def load(self, url: str) -> Load:
        """Eight clients; a tenth of the queries need the encoder."""
        return Load(url=url, papers=self.stores.papers, texts=0.1)


def killed(bench: Bench) -> None:
    """SIGKILL of one of two workers, three times."""
    with bench.serve("--workers", "2") as running:
        _kill_workers(bench, running, running.url, "one of two workers killed, 3 times")
        if NGINX:
            with in_front(running.url, bench.folder, changed={"rate=20r/s": "rate=100000r/s"}) as url:
                _kill_workers(bench, running, url, "the same, through nginx")


def _kill_workers(bench: Bench, running: Server, url: str, what: str) -> None:
    back = []
    with clients(bench.load(url)) as work:
        time.sleep(bench.seconds / 4)
        for _ in range(3):
            _wait_for(running, 2)
            os.kill(running.workers()[0], signal.SIGKILL)
            start = time.monotonic()
            time.sleep(0.3)
            _wait_for(running, 2)
            back.append(time.monotonic() - start)
            time.sleep(bench.seconds / 4)
    _row(what, work.seen, f"two again after {max(back):.1f} s at most")


def _wait_for(running: Server, n_workers: int) -> None:
    """Until so many are ready. To kill the only one that is would leave nobody to answer: not what is asked here."""
    while listening(running.url) < n_workers:
        time.sleep(0.05)


def deleted(bench: Bench) -> None:
    """The folder is gone for a third of the time."""
    kept = bench.folder / "kept"
    shutil.copytree(bench.index, kept)
    with bench.serve() as running:
        with clients(bench.load(running.url)) as work:
            time.sleep(bench.seconds / 3)
            shutil.rmtree(bench.index)
            gone = time.time()
            time.sleep(bench.seconds / 3)
            ready = status(running.url, "/readyz")
            kept.rename(bench.index)
            back = time.time()
            time.sleep(bench.seconds / 3)
        _row("index folder removed, /readyz then " + str(ready), [s for s in work.seen if gone <= s.at < back])
        _row("after it was put back", [s for s in work.seen if s.at >= back])
    print(f"{'':44} the log: {_messages(bench)}")


def full(bench: Bench) -> None:
    """Temporary files and stderr on a file system of 3 MiB, which is full."""
    small = bench.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True).returncode:
        print("disk full: not tried, no tmpfs can be mounted here")
        return
    try:
        errors = small / "errors.txt"
        with server(bench.index, "--workers", "2", errors=errors, env={"TMPDIR": str(small)}) as running:
            filled = _fill(small / "filler")
            with clients(bench.load(running.url)) as work:
                time.sleep(bench.seconds)
            seen, metrics = work.seen, status(running.url, "/metrics")
            n = len(running.workers())
        note = f"{filled} bytes filled it; /metrics then {metrics}; workers left: {n}"
        _row("no space for metrics and messages", seen, note)
        _started_full(bench, small)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def _started_full(bench: Bench, small: Path) -> None:
    """A start on a disk that is full already."""
    try:
        with server(
            bench.index, "--workers", "2", errors=bench.folder / "errors.txt", env={"TMPDIR": str(small)}
        ) as running:
            print(f"started on a full disk: /readyz {status(running.url, '/readyz')}")
    except SystemExit as end:
        print(f"started on a full disk: {' '.join(str(end).split())[-200:]}")


def _fill(path: Path) -> int:
    n = 0
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    n += file.write(b"x" * size)
            except OSError:
                continue
    return n


def stopped(bench: Bench) -> None:
    """SIGTERM: what is under way is answered, then nobody listens."""
    for n in (1, 2):
        with bench.serve("--workers", str(n)) as running:
            with clients(bench.load(running.url)) as work:
                time.sleep(bench.seconds / 3)
                at, start = time.time(), time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                code = running.process.wait(60)
                took = time.monotonic() - start
                time.sleep(0.5)
            after = [s for s in work.seen if s.at >= at and s.wrong != "ConnectError"]
            refused = sum(s.wrong == "ConnectError" for s in work.seen if s.at >= at)
            note = f"exit {code} after {took:.1f} s; {refused} connections refused after that"
            _row(f"SIGTERM, workers: {n}; under way or on an open connection", after, note)


def memory(bench: Bench) -> None:
    """Sets of all processes of a server, in MB."""
    for n in (1, 4):
        with bench.serve("--workers", str(n)) as running:
            _wait_for(running, n)
            with clients(bench.load(running.url)) as work:
                time.sleep(bench.seconds)
            sets = [_sets(pid) for pid in running.workers()]
            _row(f"memory, workers: {n}", work.seen)
            for name in ("Rss", "Pss", "Pss_Anon", "Pss_File"):
                each = ", ".join(f"{one[name] / 1024:.0f}" for one in sets)
                print(f"{'':44} {name:9} {sum(one[name] for one in sets) / 1024:6.0f} MB in all: {each}")


def _sets(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}


def _row(what: str, seen: list[Seen], note: str = "") -> None:
    wrong = Counter(one.wrong for one in seen if one.wrong)
    found = ", ".join(f"{n} {name}" for name, n in wrong.most_common()) or "none"
    good = [one for one in seen if not one.wrong]
    print(f"{what:44} {len(seen):6,} requests, failed: {found}; answered: {quantiles(good)}; {note}", flush=True)


def _messages(bench: Bench) -> str:
    lines = (bench.folder / "errors.txt").read_text().splitlines()
    return " | ".join(line[:200] for line in lines[-3:])


SCENES: dict[str, Callable[[Bench], None]] = {
    "killed": killed,
    "deleted": deleted,
    "full": full,
    "stopped": stopped,
    "memory": memory,
}


def main() -> None:
    """Run the scenes that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="default: the bundled sample")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load in a scene")
    parser.add_argument("--only", default=",".join(SCENES))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="embedsearch-failures-") as folder:
        bench = Bench(Path(folder), corpus=asked.corpus, seconds=asked.seconds)
        for name in asked.only.split(","):
            SCENES[name](bench)


if __name__ == "__main__":
    main()
