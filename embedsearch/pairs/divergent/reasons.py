"""Why two papers may be alike: the rare terms that both abstracts share, as the AstroLLaMA paper's 'magnetized'."""

from __future__ import annotations

import re
from collections.abc import Callable

from embedsearch.keywords import words_of
from embedsearch.records import SharedTerm
from embedsearch.texts import designations

RARE = 0.02
"""A term is rare that at most this share of the corpus has."""
TERMS_SHOWN = 5
_SURFACE = re.compile(r"[^\W_]{3,}")


def shared_terms(
    first: str,
    second: str,
    *,
    n_with: Callable[[str], int],
    n_papers: int,
    most: int = TERMS_SHOWN,
    rare: float = RARE,
) -> tuple[SharedTerm, ...]:
    """The rare terms of two texts for people, rarest first, at most `most`.

    Names of objects (`texts.designations`) come first, then words by the number of papers that have them, `n_with` of a
    word as `keywords.words_of` makes it: a share of `rare` of all papers at most. Words are compared by their stems and
    shown as a text has them; numbers and words of one or two letters tell nothing.
    """
    names = _names(first), _names(second)
    found = [SharedTerm(term=names[0][key], n_papers=None) for key in names[0] if key in names[1]][:most]
    mine, other = _surfaces(first), _surfaces(second)
    limit = max(2, int(rare * n_papers))
    counted = [(n_with(stem), stem) for stem in mine if stem in other]
    for n, stem in sorted(pair for pair in counted if pair[0] <= limit)[: most - len(found)]:
        # A word at the beginning of a sentence is shown as it stands within one, if it does.
        forms = mine[stem] + other[stem]
        found.append(SharedTerm(term=next((form for form in forms if form.islower()), forms[0]), n_papers=n))
    return tuple(found)


def _names(text: str) -> dict[str, str]:
    """Designations by their folded form, each as it is first written."""
    found: dict[str, str] = {}
    for name in designations(text):
        found.setdefault(name.folded, " ".join(text[name.start : name.end].split()))
    return found


def _surfaces(text: str) -> dict[str, list[str]]:
    """Words that are not part of a designation, by their stem."""
    for name in reversed(designations(text)):
        text = f"{text[: name.start]} {text[name.end :]}"
    found: dict[str, list[str]] = {}
    for form in _SURFACE.findall(text):
        if not form.isdigit():
            for stem in words_of(form):
                found.setdefault(stem, []).append(form)
    return found
