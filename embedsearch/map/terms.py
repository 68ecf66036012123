"""The terms that set groups of papers apart from one another."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embedsearch.keywords import words_of
from embedsearch.scores import Float64

MOST_TEXTS = 30_000
"""Papers whose texts are counted: of more a sample says the same, and takes less time and memory."""
TERMS = 6
"""Terms of a region."""
LEAST_SHARE = 0.06
"""Of the papers of a group that must have a term for it to be one of theirs: what one paper says is no subject."""
RARE = 2
"""A term that fewer papers have is no term."""
WITHIN = 0.4
"""A word is shown as part of a pair of words where this share of its occurrences is in that pair."""
WHOLE = 0.55
"""A pair is shown as part of a triple where this share of its occurrences is in that triple."""

# A word may have hyphens, and has a letter: numbers say nothing of a subject, but 21-cm does
_FORM = re.compile(r"(?<![_^])\b(?:\d+[-‐–]?)?[^\W\d_][^\W_]*(?:[-‐–][^\W_]+)*|(?P<end>[.,;:!?]+(?=\s|$)|[()\[\]])")
# Words that every abstract may have, beside those of English
_OF_ABSTRACTS = (
    "abstract al analysis based data demonstrate different discuss et find finding fit high higher however investigate"
    " large low lower method model new obtain paper present propose recent report result sample show significant small"
    " study suggest use using various work approach compared consistent provide including observed observation range"
    " order type case value effect"
)
_UNITS = "pc kpc mpc gpc au km cm mm yr myr gyr hz khz mhz ghz ev kev mev gev tev erg jy mjy mk ms kms arcsec mas dex"


@dataclass(frozen=True, slots=True)
class _Text:
    """Words in a row, and the stems of each; where punctuation stands between two words, both have an empty entry."""

    forms: tuple[str, ...]
    stems: tuple[str, ...]
    n_of_title: int


class TermCounts:
    """How often each term stands in each of n texts; a term is a word or a pair of neighbouring words, by their stems.

    `texts` are (title, abstract) for people. Texts without words have no terms.
    """

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._texts = [_read(*text) for text in texts]
        counter = CountVectorizer(analyzer=_terms, min_df=min(RARE, max(len(texts), 1)), dtype=np.float64)
        try:
            self._counts = counter.fit_transform(self._texts)
            self._terms = counter.get_feature_names_out()
        except ValueError:  # nothing but stop words, or nothing that two papers share
            self._terms = np.empty(0, object)

    def of_groups(self, groups: NDArray[np.integer], n_groups: int) -> list[tuple[str, ...]]:
        """The TERMS terms of each group that set it apart most, as its abstracts write them; `groups` (n,) has -1 for
        none.

        By class TF-IDF, W(t, c) = sqrt(tf(t, c)) log(1 + A / f(t)): tf(t, c) is the term's share of the terms of group
        c, f(t) how often all groups have it, and A the mean number of terms of a group (Grootendorst 2022,
        arXiv:2203.05794; the root, which BERTopic offers as reduce_frequent_words, holds back what is said everywhere).
        """
        if not len(self._terms) or not n_groups:
            return [()] * n_groups
        weights, shares = self._weights(groups, n_groups)
        found = []
        for group in range(n_groups):
            keys = _chosen(self._terms, weights[group], shares[group])
            mine = [self._texts[i] for i in np.flatnonzero(groups == group).tolist()]
            found.append(tuple(_surfaces(_apart(_whole(keys, mine)), mine)))
        return found

    def _weights(self, groups: NDArray[np.integer], n_groups: int) -> tuple[Float64, Float64]:
        """W, zero for the terms of too few papers, and tf: each (n_groups, terms)."""
        from scipy.sparse import csr_matrix

        members = np.flatnonzero(groups >= 0)
        belongs = csr_matrix((np.ones(len(members)), (groups[members], members)), shape=(n_groups, len(groups)))
        counts: Float64 = (belongs @ self._counts).toarray()
        n_papers: Float64 = (belongs @ self._counts.sign()).toarray()
        of_term, of_group = counts.sum(axis=0), counts.sum(axis=1)
        shares = counts / np.maximum(of_group, 1)[:, None]
        weights = np.sqrt(shares) * np.log1p(of_group.mean() / np.maximum(of_term, 1))
        enough = n_papers >= np.maximum(LEAST_SHARE * np.asarray(belongs.sum(axis=1)), min(RARE, len(members)))
        return np.where(enough, weights, 0.0), shares


def _chosen(terms: NDArray[np.object_], weights: Float64, shares: Float64) -> list[str]:
    """The terms of the largest weights that share no word with one another; a pair for a word that mostly stands in it.

    Equal weights in the order of the alphabet, in which the terms are.
    """
    best = [i for i in np.argsort(-weights, kind="stable")[: 12 * TERMS] if weights[i] > 0]
    pairs = [i for i in best if "\t" in terms[i]]
    wanted = []
    for i in best:
        around = [p for p in pairs if terms[i] in terms[p].split("\t") and shares[p] >= WITHIN * shares[i]]
        wanted.append(terms[around[0] if around else i])
    return _apart(wanted)[:TERMS]


def _apart(terms: Sequence[str]) -> list[str]:
    """Those of `terms` that have no word of one before them, in any of its forms."""
    kept: list[str] = []
    seen: list[str] = []
    for term in terms:
        parts = term.replace("\t", " ").split()
        if not any(_alike(part, other) for part in parts for other in seen):
            kept.append(term)
            seen += parts
    return kept


def _alike(one: str, other: str) -> bool:
    """Whether two stems are forms of one word: they begin alike (galaxi, galact), or differ by an s (PBH, PBHs)."""
    return (min(len(one), len(other)) >= 5 and one[:5] == other[:5]) or one.rstrip("s") == other.rstrip("s")


def _read(title: str, abstract: str) -> _Text:
    """A paper's words; of equal ones one is kept in memory."""
    parts = []
    for part in (title, abstract):
        parts.append([sys.intern(found[0]) if found["end"] is None else "" for found in _FORM.finditer(part)])
    forms = (*parts[0], "", *parts[1])
    return _Text(forms, tuple(map(_key, forms)), len(parts[0]))


def _terms(text: _Text) -> list[str]:
    """The terms of a paper: stems, and pairs of stems with a tab between."""
    single = [stem for stem in text.stems if stem]
    both = zip(text.stems, text.stems[1:], strict=False)
    return single + [f"{one}\t{other}" for one, other in both if one and other and one != other]


@lru_cache(200_000)
def _key(form: str) -> str:
    """The stems of a word, of several where it has hyphens; empty for what says nothing."""
    if len(form) < 2:
        return ""
    stems = words_of(form)
    return "" if not stems or all(stem in _stop_words() for stem in stems) else sys.intern(" ".join(stems))


@lru_cache(1)
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(
        stem for word in (*ENGLISH_STOP_WORDS, *_OF_ABSTRACTS.split(), *_UNITS.split()) for stem in words_of(word)
    )


def _places(keys: Sequence[str], texts: Sequence[_Text]) -> Iterator[tuple[str, _Text, int, int]]:
    """Where the terms stand: (key, text, first word, behind the last)."""
    starting: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for key in keys:
        words = tuple(key.split("\t"))
        starting.setdefault(words[0], []).append((key, words))
    for text in texts:
        for i, stem in enumerate(text.stems):
            for key, words in starting.get(stem, ()):
                if text.stems[i : i + len(words)] == words:
                    yield key, text, i, i + len(words)


def _whole(keys: Sequence[str], texts: Sequence[_Text]) -> list[str]:
    """Pairs that mostly stand in one and the same triple as that triple: primordial black holes, little red dots."""
    before: dict[str, Counter[str]] = {key: Counter() for key in keys if "\t" in key}
    after: dict[str, Counter[str]] = {key: Counter() for key in before}
    for key, text, first, end in _places(list(before), texts):
        before[key][text.stems[first - 1] if first else ""] += 1
        after[key][text.stems[end] if end < len(text.stems) else ""] += 1
    return [_with_most(key, before[key], after[key]) if key in before else key for key in keys]


def _with_most(pair: str, before: Counter[str], after: Counter[str]) -> str:
    for counts, pattern in ((after, "{pair}\t{word}"), (before, "{word}\t{pair}")):
        word, n = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
        if word and n >= WHOLE * counts.total():
            return pattern.format(pair=pair, word=word)
    return pair


def _surfaces(keys: Sequence[str], texts: Sequence[_Text]) -> list[str]:
    """Each term as these abstracts, or else titles, write it most often; the first word of a sentence is no example."""
    counted: dict[str, Counter[str]] = {key: Counter() for key in keys}
    for key, text, first, end in _places(keys, texts):
        in_sentence = first > text.n_of_title + 1 and text.forms[first - 1]
        counted[key][" ".join(text.forms[first:end])] += 1000 if in_sentence else 1
    return [max(sorted(counts), key=lambda form: counts[form]) for counts in counted.values() if counts]
