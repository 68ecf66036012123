"""The two pairs that the AstroLLaMA paper prints below its Figure 3, in one's own corpus and spaces.

Nguyen et al. 2023, arXiv:2309.06126. The paper's text averages the final hidden states of all tokens but [BOS]; the
code of the model card pools a padded batch without a mask. Both are computed, to see which the printed figures fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders import Encoder, Role
from embedsearch.errors import PaperNotFound
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.scores import Float32, cosines


@dataclass(frozen=True, slots=True)
class PrintedPair:
    """A pair of titles with the cosines that the paper prints, under ada-002 and under AstroLLaMA."""

    titles: tuple[str, str]
    ada: float
    astrollama: float


PRINTED = (
    PrintedPair(
        (
            "Astrophysical gyrokinetics: kinetic and fluid turbulent cascades in magnetized weakly collisional plasmas",
            "Comment on modified Coulomb law in a strongly magnetised vacuum",
        ),
        ada=0.785,
        astrollama=0.363,
    ),
    PrintedPair(
        (
            "A Spitzer census of the IC 348 nebula",
            "Sequential and spontaneous star formation around the mid-infrared halo HII region KR 140",
        ),
        ada=0.824,
        astrollama=0.928,
    ),
)
"""As the paper prints them; arXiv writes the first title with "plasmas", the paper with "plasma"."""


def variants(title: str) -> tuple[str, ...]:
    """A title, and with its last word in the other number."""
    return (title, title.removesuffix("s") if title.endswith("s") else f"{title}s")


def find_printed(known_papers: KnownPapers, known: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The ids of the printed pairs in a store, of those in `known` (the papers compared).

    Raises PaperNotFound, which names each title that is not there.
    """
    here = set(known)
    found = {
        title: next((id for name in variants(title) for id in known_papers.with_title(name) if id in here), None)
        for pair in PRINTED
        for title in pair.titles
    }
    missing = [title for title, id in found.items() if id is None]
    if missing:
        raise PaperNotFound(
            f"expected the AstroLLaMA paper's four papers among the {len(here):,} compared, found no paper titled"
            f" {'; '.join(repr(title) for title in missing)}: build an index of a corpus that has them"
            " (arXiv 0704.0044 and 0704.0203 are two of them)"
        )
    return tuple((str(found[pair.titles[0]]), str(found[pair.titles[1]])) for pair in PRINTED)


@runtime_checkable
class PadsToo(Protocol):
    """An encoder that can also do as AstroLLaMA's model card does."""

    def encode_padded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `TransformerEncoder.encode_padded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The cosines of the printed pairs under one model by two poolings, one number a pair.

    `as_text` is the recipe's own pooling, for a causal model the paper's text's; `as_card_two` and `as_card_four` are
    the model card's, in a batch of the two papers of a pair and in one of all four.
    """

    label: str
    as_text: tuple[float, ...]
    as_card_two: tuple[float, ...]
    as_card_four: tuple[float, ...]

    @property
    def nearer(self) -> str:
        """Which lies nearer to AstroLLaMA's printed figures by the mean absolute difference: a sentence."""
        printed = np.array([pair.astrollama for pair in PRINTED])
        ways = {
            "the paper's text (mean over all tokens but [BOS])": self.as_text,
            "the model card's code (pads in the mean), two texts a batch": self.as_card_two,
            "the model card's code (pads in the mean), four texts a batch": self.as_card_four,
        }
        off = {way: float(np.abs(np.array(values) - printed).mean()) for way, values in ways.items()}
        best = min(off, key=lambda way: off[way])
        others = ", ".join(f"{off[way]:.3f}" for way in ways if way != best)
        return f"{self.label}: nearest to the printed figures is {best}: off by {off[best]:.3f} against {others}"


def both_poolings(encoder: Encoder, texts: Sequence[tuple[str, str]], *, label: str) -> Pooled | None:
    """The cosines of pairs of texts by the encoder's pooling and by the model card's.

    None where the encoder cannot do as the model card does. No transform is applied.
    """
    if not isinstance(encoder, PadsToo):
        return None
    flat = [text for pair in texts for text in pair]
    own, four = encoder.encode(flat, role=Role.DOCUMENT), encoder.encode_padded(flat)
    two = np.concatenate([encoder.encode_padded(pair) for pair in texts])
    return Pooled(label=label, as_text=_of_pairs(own), as_card_two=_of_pairs(two), as_card_four=_of_pairs(four))


def _of_pairs(vectors: Float32) -> tuple[float, ...]:
    """Of rows 0 and 1, 2 and 3, ..."""
    return tuple(float(cosines(vectors[i], vectors[i + 1 : i + 2])[0]) for i in range(0, len(vectors), 2))
