"""Which papers are held out: by the hash of their ids, so that the split is the same for every order and subset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError

SPLIT_SEED = 20_230_915
"""Of the hash. It is no option: what was held out once must stay so, or a gain means nothing."""


def held_out(
    ids: Sequence[str], share: float = 0.1, *, groups: Sequence[int] | NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Which of the papers are held out, (n,) bool: about `share` of them, each decided by its id alone.

    So a paper is on the same side whatever the order of the corpus and whatever else it holds. With `groups` (n,) int,
    equal for papers that are near-duplicates, a whole group goes where the smallest of its ids goes.
    Raises OptionError for a share outside of [0, 1) and for groups of another length.
    """
    if not 0 <= share < 1:
        raise OptionError(f"expected a share to hold out from 0 to below 1, found {share}")
    if groups is not None and len(groups) != len(ids):
        raise OptionError(f"expected a group for each of {len(ids)} papers, found {len(groups)}")
    deciding = list(ids)
    if groups is not None:
        smallest: dict[int, str] = {}
        for id, group in zip(ids, groups, strict=True):
            smallest[int(group)] = min(id, smallest.get(int(group), id))
        deciding = [smallest[int(group)] for group in groups]
    limit = int(share * 2**63)
    return np.array([sample_key(id, SPLIT_SEED) < limit for id in deciding], np.bool_)
