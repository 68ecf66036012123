"""Run a command of embedsearch in this process, as a shell would see it: torch is loaded once for all tests."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from embedsearch.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def _streams(stdin: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = io.BytesIO(), io.BytesIO()
    with (
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
        mock.patch.object(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        mock.patch.object(sys, "stderr", io.TextIOWrapper(err, encoding="utf-8", write_through=True)),
    ):
        yield out, err


def run(*arguments: str | Path, cwd: Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    """Run `embedsearch ARGUMENTS` in the folder `cwd`."""
    argv = ["embedsearch", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "100"} | (env or {})
    level = logging.getLogger("embedsearch").level
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ, environment),
        _streams(stdin) as (out, err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        # Read before the streams close
        done = Done(int(code or 0), out.getvalue().decode(), err.getvalue().decode())
    logging.getLogger("embedsearch").setLevel(level)  # -v and -q last as long as a process
    return done
