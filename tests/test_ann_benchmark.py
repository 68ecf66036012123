"""The benchmark of large indexes runs on few vectors, and measures what it says. None of its times is asserted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ann
from benchmarks.ann_made import SHARES, K, Made, make
from benchmarks.ann_steps import measured
from benchmarks.synthetic import source
from embedsearch.scores import Float32, Mask, Rows

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    like = source(ann.made_up(), dim=64)
    return make(tmp_path_factory.mktemp("made"), like, 900, n_queries=15, n_choosing=5)


def test_what_is_exactly_nearest(made: Made) -> None:
    rows = made.vectors.rows(np.arange(900))
    products = made.queries @ rows.T
    for share in SHARES:
        allowed = made.allowed(share)
        scores = products if allowed is None else np.where(allowed, products, -2)
        n = min(K, 900 if allowed is None else int(allowed.sum()))
        best = np.argsort(-scores, axis=1)[:, :n]
        assert np.array_equal(made.exact[share][:, :n], best)
        assert (made.exact[share][:, n:] == -1).all()
    assert made.queries.shape == (15, 64)
    assert made.choosing.shape == (5, 64)


def test_vectors_are_made_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    like = source(ann.made_up(), dim=64)
    monkeypatch.setattr(type(like), "write", lambda *_: pytest.fail("made again"))
    again = make(made.folder, like, 900, n_queries=15, n_choosing=5)
    assert np.array_equal(again.exact[1.0], made.exact[1.0])
    with pytest.raises(pytest.fail.Exception):
        make(made.folder.parent / "other", like, 901, n_queries=15, n_choosing=5)


def test_recall_counts_the_exact_ones(made: Made) -> None:
    order = iter(list(range(15)) * 2)

    def half_of_the_first(query: Float32, mask: Mask | None) -> Rows:
        i = next(order)
        return made.exact[1.0][i, :5] if i == 0 else made.exact[1.0][i]

    figures = measured(made, 1.0, half_of_the_first)
    assert figures["recall 1"] == pytest.approx(14.5 / 15)
    assert figures["error 1"] == pytest.approx(0.5 / 15)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_memory_is_told_apart(tmp_path: Path) -> None:
    """In a process of its own: what other tests leave is given back when nobody looks."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


MEMORY = """
import sys, time
from pathlib import Path
import numpy as np
from benchmarks.ann_steps import mapped_bytes, own_bytes, peak_of_own
before = own_bytes()
with peak_of_own() as peak:
    gone = np.ones(4_000_000)
    time.sleep(0.3)
    del gone
assert 31 < peak[0] < 40, peak
held = np.ones(2_000_000)
assert own_bytes() - before > 0.9 * held.nbytes
path = Path(sys.argv[1]) / "there" / "file.npy"
path.parent.mkdir()
np.save(path, held)
mapped = np.load(path, mmap_mode="r")
assert mapped_bytes(path) == 0
assert mapped.sum() == 2_000_000
assert 16_000_000 <= mapped_bytes(path) < 17_000_000
assert mapped_bytes(path.parent) == mapped_bytes(path)
assert mapped_bytes(path.parent / "not") == 0
"""


@pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_quick_run(capsys: pytest.CaptureFixture[str]) -> None:
    ann.main(["--quick", "--sizes", "1500"])
    found = capsys.readouterr().out
    assert "failed" not in found
    row = next(line for line in found.splitlines() if line.startswith("| 1,500 x 48 | embedsearch | ivf n_lists"))
    assert all(cell.strip() for cell in row.strip("|").split("|"))
    assert found.count("| 1,500 x 48 |") == 2
