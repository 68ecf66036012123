"""What an index of vectors is, and which kind suits how many."""

from __future__ import annotations

import importlib.util
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from embedsearch.errors import MissingExtra
from embedsearch.scores import Float32, Mask, Rows

FLAT_UP_TO = 100_000
"""Papers up to which `flat` is chosen: 100,000 of 384 dimensions are 154 MB, and some 30 ms a query on two slow cores
(200,000 took 65 ms there, `ivf` 0.2 ms)."""

LONG_VECTOR = 4096

AUTO: Final = "auto"
"""Stands for the kind that `choose_kind` gives, where one is asked for."""


class AnnKind(Enum):
    """How rows are proposed; the value is its name on the command line."""

    EXACT = "exact"
    """No file: the stored vectors are scanned. What is left where FAISS is not installed."""
    FLAT = "flat"
    """FAISS IndexFlat over float32: exact, with complete groups of ties."""
    IVF = "ivf"
    """FAISS inverted lists of short codes, re-scored from the stored vectors: may miss a paper or cut a tie."""


class AnnIndex(Protocol):
    """Proposes the rows that may be nearest."""

    exact: bool
    """Whether `candidates` holds every row that belongs to the best k, and every row that ties with them."""

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        """For each of `queries` (q, d), unit rows, at least min(k, n allowed) rows in any order."""


def choose_kind(n_papers: int, *, dim: int | None = None, memory: int | None = None) -> AnnKind:
    """The kind that suits this many papers, with what is installed, and in `memory` bytes if that is given.

    `dim` is the length of a vector; None: not known, and taken for long.
    """
    if faiss_package() is None:
        return AnnKind.EXACT
    fits = memory is None or 4 * n_papers * (dim or LONG_VECTOR) <= memory
    return AnnKind.FLAT if n_papers <= FLAT_UP_TO and fits else AnnKind.IVF


def require_faiss(kind: AnnKind) -> None:
    """Raise MissingExtra where FAISS is not installed."""
    if faiss_package() is None:
        raise MissingExtra(
            f"expected FAISS for an index of kind {kind.value}, found none: pip install 'embedsearch[cpu]', or choose"
            " the kind exact"
        )


def faiss_package() -> str | None:
    """Name and version of the FAISS that is installed, None if there is none.

    Raises MissingExtra where several are: they are one and the same Python package and overwrite each other's files.
    """
    found = []
    for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(found) > 1:
        raise MissingExtra(
            f"expected one FAISS, found {' and '.join(found)}, which overwrite each other: pip uninstall them all, then"
            " pip install one"
        )
    if found:
        return found[0]
    return "faiss" if importlib.util.find_spec("faiss") else None  # conda's has another name
