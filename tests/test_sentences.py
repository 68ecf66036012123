"""Splitting an abstract, and the sentence that answers best."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from embedsearch.corpus import to_text
from embedsearch.corpus.sample import sample_path, sample_queries
from embedsearch.keywords import KeywordQuery, words_of
from embedsearch.sentences import (
    LONGEST_PIECE,
    LONGEST_REMEMBERED,
    Marker,
    _remembered,
    _remembered_words,
    sentences,
)
from embedsearch.texts import designations

Rarity = Callable[[str], float]


def plain_sentences(text: str) -> list[str]:
    """As `sentences`, straight from what it promises."""
    short = r"\b(?:[A-Z]|al|cf|ca|e\.g|i\.e|vs|Fig|Figs|Eq|Eqs|Sect|Sec|Ref|Refs|No|approx|resp)\.$"
    found: list[str] = []
    for piece in re.split(r"(?<=[.!?])\s+(?=[^\sa-z])", text):
        if found and re.search(short, found[-1]):
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def plain_best(text: str, query: KeywordQuery, rarity: Rarity) -> str | None:
    """As `Marker.best`: each sentence is analysed by itself, and for each query again."""
    wanted = {*query.words, *(word for phrase in query.phrases for word in phrase)}
    names = {*query.names, *query.quoted_names}
    best, best_value = None, 0.0
    for sentence in plain_sentences(text):
        value = math.fsum(max(0.0, rarity(word) - 1.0) for word in wanted & set(words_of(sentence)))
        value += sum(8.0 for name in designations(sentence) if name.folded in names)
        if value > best_value:
            best, best_value = sentence, value
    return best


def best_sentence(text: str, query: KeywordQuery, *, rarity: Rarity) -> str | None:
    return Marker(query, rarity=rarity).best(text)


def by_length(word: str) -> float:
    """A rarity for tests: long words are rare, those of one or two letters are stop words."""
    return 0.37 * len(word)


def compare(texts: Iterable[str], queries: Iterable[str]) -> int:
    """Both ways, each text with each query; how many sentences were marked."""
    texts, n_marked = list(texts), 0
    for text in texts:
        assert sentences(text) == plain_sentences(text)
    for query in map(KeywordQuery.parse, queries):
        marker = Marker(query, rarity=by_length)
        for text in texts:
            marked = marker.best(text)
            assert marked == plain_best(text, query, by_length)
            n_marked += marked is not None
    return n_marked


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


def test_on_the_sample_as_sentence_by_sentence() -> None:
    papers = [json.loads(line) for line in sample_path().read_text().splitlines()]
    assert (
        compare([to_text(paper["abstract"]) for paper in papers[:80]], [q.query for q in sample_queries()[:10]]) > 100
    )


def test_on_real_abstracts_as_sentence_by_sentence(real_data: Path) -> None:
    with gzip.open(real_data, "rt") as lines:
        papers = [json.loads(line) for line, _ in zip(lines, range(120), strict=False)]
    queries = ["[O III] emission of NGC 1068", "magnetised discs around young stars", "Hα and Ly alpha at z ~ 2"]
    queries += [to_text(paper["title"]) for paper in papers[:8]]
    assert compare([to_text(paper["abstract"]) for paper in papers], queries) > 800


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "One.",
        "No end",
        "It ends. \n\t Then e.g.\n So. (Yes.) 3 of them! ? Why?! Ok.",
        "Not xapprox. Foo, but approx. Foo; A. B. C. Foo.\u00a0Bar.\u2003Baz. ",
        "MAGNETISED Discs.Colour of A-STARS: na\u00efve caf\u00e9s, \u0130stanbul \u039f\u0394\u039f\u03a3 x_ionised_y"
        " 10^{15}erg. Stars'",
        "\u6052\u661f. \u6052\u661f\u7684\u661f. Star\u0301s a\x00star 1star star2 ionised9",
    ],
)
def test_odd_texts_as_sentence_by_sentence(text: str) -> None:
    queries = [
        "stars",
        "magnetized disks",
        "color",
        "naive cafe",
        "istanbul \u03bf\u03b4\u03bf\u03c3",
        "\u6052\u661f",
        '"ionized y"',
    ]
    queries += ["15 erg", "foo bar baz", "1star ionized9", ""]
    compare([text], queries)


def test_no_long_text_and_no_long_word_is_remembered() -> None:
    marker = Marker(KeywordQuery.parse("star"), rarity=by_length)
    n_texts, n_words = _remembered.cache_info().currsize, _remembered_words.cache_info().currsize
    long_text, long_word = "A star. " * LONGEST_REMEMBERED, "恒" * (LONGEST_PIECE + 1)
    assert marker.best(long_text) == "A star."
    assert marker.best(f"{long_word} star") == f"{long_word} star"
    assert _remembered.cache_info().currsize <= n_texts + 1
    assert _remembered_words.cache_info().currsize <= n_words + 2
