"""Splitting an abstract, and the sentence that answers best."""

from __future__ import annotations

from embedsearch.keywords import KeywordQuery
from embedsearch.sentences import best_sentence, sentences


def test_sentences() -> None:
    text = "We use data of Smith et al. (2020), i.e. old ones. They are 3.5 kpc away. See Fig. 2! In J. Doe we trust."
    assert sentences(text) == [
        "We use data of Smith et al. (2020), i.e. old ones.",
        "They are 3.5 kpc away.",
        "See Fig. 2!",
        "In J. Doe we trust.",
    ]


def test_best_sentence_goes_by_the_rarest_words() -> None:
    text = "Stars are stars. The dust is magnetized. It shines."
    query = KeywordQuery.parse("stars magnetized")
    rarity = {"star": 2.0, "magnet": 5.0}
    assert best_sentence(text, query, rarity=lambda word: rarity.get(word, 9.0)) == "The dust is magnetized."
    assert best_sentence(text, KeywordQuery.parse("xyzzy"), rarity=lambda word: 9.0) is None
    assert best_sentence("We saw NGC 1333. The end.", KeywordQuery.parse("NGC1333"), rarity=lambda word: 9.0) == (
        "We saw NGC 1333."
    )
