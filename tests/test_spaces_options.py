"""How commands name spaces, and what is said of long passes over all pairs."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest

from embedsearch.cli import pair_progress, terminal
from embedsearch.cli.pair_progress import PairDisplay
from embedsearch.cli.spaces import parse_fields, split_transform
from embedsearch.store.space import Space


def test_a_transform_behind_a_path(tmp_path: Path) -> None:
    assert split_transform("store@whiten:64") == ("store", "whiten:64")
    assert split_transform("a/b@c.npz") == ("a/b@c.npz", None)
    assert split_transform("store@none") == ("store", "none")
    assert split_transform("@center") == ("@center", None)
    (tmp_path / "me@center").mkdir()
    assert split_transform(tmp_path / "me@center") == (str(tmp_path / "me@center"), None)


def test_fields() -> None:
    assert parse_fields(["embedding=ada", "id=doi"]) == {"embedding": "ada", "id": "doi"}
    with pytest.raises(click.BadParameter, match="expected OURS=THEIRS, found 'ada'"):
        parse_fields(["ada"])


def test_long_work_is_forecast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    space = Space.of([str(i) for i in range(300)], np.random.default_rng(0).normal(size=(300, 4)))
    with PairDisplay(quiet=False) as display:
        display.forecast([space])
        assert capsys.readouterr().err == ""  # it is done before that is read
        monkeypatch.setattr(pair_progress, "FORECAST_FROM", 1)
        display.forecast([space], n_passes=2)
    assert "44,850 pairs of 300 papers: that will take about 0 seconds." in capsys.readouterr().err


def test_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "PLAIN_LINE_EVERY", 0.0)
    with PairDisplay(quiet=False) as display:
        display.begin("counting pairs")(5, 10)
    assert "counting pairs: 50%" in capsys.readouterr().err
    with PairDisplay(quiet=True) as display:
        display.begin("counting pairs")(5, 10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "text"), [(30, "30 seconds"), (600, "10 minutes"), (36000, "10.0 hours")])
def test_durations(seconds: float, text: str) -> None:
    assert pair_progress.duration(seconds) == text
