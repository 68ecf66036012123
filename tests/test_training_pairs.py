"""Which texts are brought together, which papers are the same one, and that no batch holds both of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedsearch.errors import OptionError
from embedsearch.records import Paper
from embedsearch.training.contrastive.options import ContrastiveOptions
from embedsearch.training.contrastive.pairs import PairKind, halves_of, make_pairs, title_key
from embedsearch.training.contrastive.sampling import batches_apart, largest_batch

RED = Paper(
    id="2301.00001", title="Red  dwarfs: $\\alpha$ lines", abstract="Red dwarfs flare. They\nspin fast. We look."
)
BARE = Paper(id="2301.00002", abstract="One sentence only")


# ---- pairs ---------------------------------------------------------------------------------------------------------


def test_a_title_is_a_query_in_plain_words_and_an_abstract_the_document_that_is_embedded() -> None:
    (pair,) = make_pairs([BARE, RED], PairKind.TITLE, query_prompt="q: ", document_prompt="d: ")
    assert (pair.anchor, pair.paper) == ("q: Red dwarfs: α lines", 1)
    assert pair.positive == "d: Red dwarfs flare. They spin fast. We look."


def test_halves_are_both_documents_cut_at_a_sentence() -> None:
    (pair,) = make_pairs([RED, BARE], PairKind.HALVES, query_prompt="q: ", document_prompt="d: ")
    assert (pair.anchor, pair.positive) == ("d: Red dwarfs flare.", "d: They spin fast. We look.")


def test_both_gives_a_pair_of_each_kind_of_the_same_paper() -> None:
    assert [pair.paper for pair in make_pairs([RED, BARE], PairKind.BOTH)] == [0, 0]


def test_the_cut_is_the_one_nearest_the_middle() -> None:
    assert halves_of("Aa. Bb. Cc. Dd dd dd dd dd dd.") == ("Aa. Bb. Cc.", "Dd dd dd dd dd dd.")
    assert halves_of("Only one.") is None


def test_titles_are_equal_whatever_their_case_and_signs() -> None:
    assert title_key(RED) == title_key(Paper(id="x", title="red dwarfs -- α-Lines", abstract=""))
    assert title_key(BARE) == ""


# ---- batches -------------------------------------------------------------------------------------------------------


def test_no_batch_holds_two_pairs_of_a_group_and_none_is_lost() -> None:
    from datasets import Dataset

    papers = [
        Paper(id=str(i), title=f"Title {i}", abstract=f"First sentence {i}. Second sentence {i}.") for i in range(60)
    ]
    pairs = make_pairs(papers, PairKind.BOTH)
    groups = np.arange(60)
    groups[:20] = np.arange(20) // 4 * 4  # five groups of four papers: 8 pairs each
    rows = Dataset.from_dict({"anchor": [p.anchor for p in pairs], "positive": [p.positive for p in pairs]})
    sampler = batches_apart(pairs, groups)(
        rows, batch_size=8, drop_last=False, generator=torch.Generator(), seed=1, valid_label_columns=["label"]
    )
    assert largest_batch(pairs, groups) == 45
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        for batch in batches:
            of = [int(groups[pairs[i].paper]) for i in batch]
            assert len(of) == len(set(of))
        assert sorted(i for batch in batches for i in batch) == list(range(len(pairs)))
        orders.append(batches)
    assert orders[0] != orders[1]
    sampler.set_epoch(0)
    assert list(sampler) == orders[0]


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 1}, "expected batch at least 2"),
        ({"epochs": 0.0}, "expected epochs above 0, found 0.0"),
        ({"learning_rate": float("nan")}, "expected learning_rate above 0, found nan"),
        ({"mix": 1.5}, "expected mix from 0 to 1, found 1.5"),
        ({"lora": 0}, "expected lora at least 1, found 0"),
        ({"schedule": "steps"}, "expected schedule one of cosine, linear, found 'steps'"),
        ({"validation": 1.0}, "expected validation from 0 to below 1, found 1.0"),
    ],
)
def test_an_option_outside_of_what_is_possible_is_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ContrastiveOptions(**options)
