"""Whatever happens to a store, it answers as one built of its papers; benchmarks/update_kills.py tries more."""

from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from hypothesis import HealthCheck, Phase, settings
from update_machine import Updates

from embedsearch import transform
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Role
from embedsearch.store.info import store_info
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space
from embedsearch.update import add, compact, remove

TestUpdates = Updates.TestCase
TestUpdates.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a failing sequence is printed as it is: to find a shorter one takes minutes
    suppress_health_check=list(HealthCheck),
)


def vectors(index: Path) -> dict[str, bytes]:
    space = Space.open(index)
    return dict(zip(space.ids, map(np.ndarray.tobytes, space.vectors), strict=True))


@pytest.mark.parametrize("kind", ["whiten:3", "remove-top:1"])
def test_a_transform_stays_as_it_was_fitted(kind: str, tmp_path: Path) -> None:
    records, index = corpora.records(30), tmp_path / "i"
    options = BuildOptions(transform=kind, shard_rows=8)
    build_index(corpora.write(tmp_path / "old.jsonl", records[:20]), index, encoder=FakeEncoder(), options=options)
    before = vectors(index)
    add(corpora.write(tmp_path / "new.jsonl", records[20:]), index, encoder=FakeEncoder())
    remove([records[0]["id"]], index)
    compact(index)
    after = vectors(index)
    assert {id: before[id] for id in before if id in after} == {id: after[id] for id in before if id in after}
    entry = read_manifest(index).serving.transform_file
    assert entry is not None
    texts = [record["abstract"] for record in records[20:]]
    stored = FakeEncoder().encode(texts, role=Role.DOCUMENT).astype(np.float16).astype(np.float32)
    fitted = transform.load(index / entry.name)
    for record, row in zip(records[20:], fitted.apply(stored), strict=True):
        assert np.frombuffer(after[record["id"]], np.float32) @ row == pytest.approx(1, abs=1e-3)
    assert (store_info(index).n_fitted, store_info(index).n_papers) == (20, 29)
