"""What can be asked of a build, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from embedsearch.ann import AUTO, AnnKind
from embedsearch.corpus import Selection
from embedsearch.errors import OptionError
from embedsearch.store.generation import CorpusNote
from embedsearch.store.vectors import SHARD_ROWS
from embedsearch.texts import Template
from embedsearch.transform import TransformSpec

NO_TRANSFORM = "none"
"""Takes a transform away, where not naming one leaves it."""

DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a store is made. What is None is as the store has it already, or the default in a new one.

    Which papers: `selection` by category and date; `limit` stops after so many; `sample` keeps the n papers with the
    smallest hash of (`seed`, id), the same ones whatever the order of the corpus; `fields` maps our names to the
    corpus's columns; `strict` makes an empty abstract an error instead of a paper left out.

    How: `template` (default `{abstract}`), `transform` (`center`, `whiten:K`, `remove-top:K`, `truncate:D`, or `none`),
    `dtype` of the stored vectors (default float16).

    The index: `ann` is its kind, or "auto" for what suits the number of papers (the default in a new store); `memory`
    in bytes what it may take, `recall` the share of the exact ten that it is to find (default 0.99). `ann_device` is
    where an `ivf` is built: cpu, cuda or cuda:N. It is searched on the CPU, and the store does not remember it.

    `vector_fields` maps `id` and `embedding` to the columns of a file of vectors, where one is given.

    `overwrite` makes a new generation, which replaces the old one when it is complete.
    """

    selection: Selection = field(default_factory=Selection)
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False
    template: str | None = None
    transform: str | None = None
    dtype: str | None = None
    ann: AnnKind | Literal["auto"] | None = None
    memory: int | None = None
    recall: float | None = None
    ann_device: str = "cpu"
    vector_fields: Mapping[str, str] = field(default_factory=dict)
    shard_rows: int = SHARD_ROWS
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "sample", "shard_rows", "memory"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise OptionError(f"expected {name.replace('_', ' ')} of at least 1, found {value!r}")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise OptionError(f"expected a recall above 0, and 1 at most, found {self.recall!r}")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.ann_device):
            raise OptionError(f"expected a device cpu, cuda or cuda:N for the index, found {self.ann_device!r}")
        if isinstance(self.ann, str) and self.ann != AUTO:
            object.__setattr__(self, "ann", _kind(self.ann))
        if self.template is not None:
            Template.parse(self.template)
        if self.transform not in (None, NO_TRANSFORM):
            object.__setattr__(self, "transform", str(TransformSpec.parse(self.transform)))  # whiten:03 is whiten:3
        if self.dtype not in (*DTYPES, None):
            raise OptionError(f"expected a stored dtype of {' or '.join(DTYPES)}, found {self.dtype!r}")

    def transform_over(self, has: str | None) -> str | None:
        """The transform that is asked for, where a store has `has`."""
        if self.transform is None:
            return has
        return None if self.transform == NO_TRANSFORM else self.transform

    def of_corpus(self) -> dict[str, Any]:
        """What decides which papers are taken, as JSON can hold it."""
        return {
            "categories": list(self.selection.categories),
            "since": self.selection.since,
            "until": self.selection.until,
            "limit": self.limit,
            "sample": self.sample,
            "seed": self.seed if self.sample else None,
            "fields": dict(self.fields),
            "strict": self.strict,
        }


def _kind(name: str) -> AnnKind:
    try:
        return AnnKind(name)
    except ValueError:
        known = ", ".join([AUTO, *(kind.value for kind in AnnKind)])
        raise OptionError(f"expected an index of kind {known}, found {name!r}") from None


class Stage(Enum):
    """What a build is doing; the value is a phrase for people."""

    READ = "reading papers"
    KEYWORDS = "indexing words"
    EMBED = "embedding"
    COLLECT = "collecting shards"
    TRANSFORM = "fitting the transform"
    ANN = "building the index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far a stage is. `total` is None where it is not known; READ counts thousandths of the file where it can."""

    stage: Stage
    done: int
    total: int | None
    n_papers: int = 0
    n_tokens: int = 0
    n_tokens_expected: int | None = None
    n_truncated: int = 0


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did. `n_embedded` counts this run alone; the rest describes the whole store."""

    n_papers: int
    n_embedded: int
    n_truncated: int
    corpus: CorpusNote
    empty_ids: tuple[str, ...]
    already_complete: bool
    read: bool
