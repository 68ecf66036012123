"""Changes of a store that are killed leave it as it was or as it was to be; benchmarks/update_kills.py kills more."""

from __future__ import annotations

from pathlib import Path

import corpora
import pytest
from update_killing import Change, n_points, prove
from updating import Model

RECORDS = corpora.records(30)
OLD = RECORDS[:12]
BATCH = [*RECORDS[12:20], OLD[3] | {"abstract": "plasma plasma"}, OLD[5] | {"journal_ref": "J. Inv. 7"}]
CHANGES = {
    "add": Change(batch=[*BATCH, {"id": OLD[7]["id"], "deleted": True}]),
    "remove": Change(ids=[record["id"] for record in OLD[:4]]),
    "compact": Change(),
}


@pytest.mark.parametrize(("what", "share"), [("add", 0.3), ("add", 0.8), ("remove", 0.6), ("compact", 0.7)])
def test_a_kill(what: str, share: float, tmp_path: Path) -> None:
    model = Model(tmp_path, "flat")
    model.start(len(OLD))
    if what == "compact":
        model.remove(CHANGES["remove"].ids)
    nth = round(share * n_points(model, CHANGES[what]))
    assert prove(model, CHANGES[what], nth=nth)


def test_a_difference_is_seen(tmp_path: Path) -> None:
    model = Model(tmp_path, "exact")
    model.start(len(OLD))
    model.states[1].papers[OLD[0]["id"]] = OLD[0] | {"abstract": "star star star gas"}
    with pytest.raises(AssertionError, match="space"):
        model.check()
