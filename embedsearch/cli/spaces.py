"""Options and opening of embedding spaces, shared by the commands that look at all pairs of papers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embedsearch.cli.options import is_quiet, parse_fields
from embedsearch.cli.pair_progress import PairDisplay

if TYPE_CHECKING:
    from embedsearch.store.space import Aligned, Space

__all__ = [
    "PairDisplay",
    "against_option",
    "open_spaces",
    "sample_options",
    "space_options",
    "split_transform",
    "transformed",
]

F = TypeVar("F", bound=Callable[..., Any])

LARGEST_SAMPLE = 10_000
"""Papers that are taken where no number is asked for: what the AstroLLaMA paper takes, 49,995,000 pairs."""
FEWEST = 3
"""With fewer papers no error can be stated."""


class _Sample(click.ParamType[str]):
    """A number of papers, or all; stays text, as `open_spaces` takes it."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).replace(",", "").replace("_", "")
        if text != "all" and not (text.isascii() and text.isdigit() and int(text) >= FEWEST):
            self.fail(f"expected a number of papers of at least {FEWEST}, or all, found {value!r}", param, ctx)
        return text


def against_option(function: F) -> F:
    """--against SPACE, as `against`: a tuple of str"""
    return click.option(
        "--against",
        multiple=True,
        metavar="SPACE",
        help="Another space on the same papers: an index, or a file of vectors with ids. May be repeated.",
    )(function)


def sample_options(function: F) -> F:
    """--sample, --seed, --transform, --field, --fast, --device: `sample`, `seed`, `transform`, `fields`, `fast`,
    `device`"""
    for option in (
        click.option(
            "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="Where pairs are counted."
        ),
        click.option("--fast", is_flag=True, help="Products in bfloat16: faster on some machines, and rougher."),
        click.option(
            "--field",
            "fields",
            multiple=True,
            metavar="OURS=THEIRS",
            help="A column of a file by another name: embedding=ada. May be repeated.",
        ),
        click.option(
            "--transform",
            metavar="KIND",
            help="Of every space: center, whiten:K, remove-top:K or truncate:D, fitted on the papers compared; of one"
            " space alone: SPACE@center.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the sample."),
        click.option(
            "--sample",
            type=_Sample(),
            metavar="N|all",
            help=f"Papers to compare: the same ones for every model. [default: all, up to {LARGEST_SAMPLE:,}]",
        ),
    ):
        function = option(function)
    return function


def space_options(function: F) -> F:
    """--against and the options of `sample_options`."""
    return against_option(sample_options(function))


def split_transform(path: str | Path) -> tuple[str, str | None]:
    """`store@whiten:64` as ("store", "whiten:64"); `@none` is no transform. A path that exists is taken as it is."""
    text = str(path)
    before, at, after = text.rpartition("@")
    if not at or not before or Path(text).exists() or not re.fullmatch(r"[a-z-]+(:\d+)?", after):
        return text, None
    return before, after


def open_spaces(
    paths: Sequence[str | Path],
    *,
    sample: str | None = None,
    seed: int = 0,
    transform: str | None = None,
    fields: Mapping[str, str] | Sequence[str] = (),
    default: int | None = LARGEST_SAMPLE,
) -> Aligned:
    """The spaces at `paths` on the papers they share, sampled, then transformed; says on stderr what fell out.

    `sample` is a number, "all", or None for up to `default`. A transform in a path (`SPACE@center`) goes before
    `transform`. Transforms are fitted on the papers that are left. Raises OptionError where there are fewer than 3
    papers or fewer than asked for, and whatever opening, aligning and transforming raise.
    """
    from dataclasses import replace

    import numpy as np

    from embedsearch.errors import OptionError
    from embedsearch.store.space import Space, align

    named = fields if isinstance(fields, Mapping) else parse_fields(fields)
    chosen = [split_transform(path) for path in paths]
    for _, kind in chosen:
        _check_transform(kind or transform)
    aligned = align([Space.open(path, fields=named or None) for path, _ in chosen])
    if len(chosen) > 1 and any(aligned.n_left_out) and not is_quiet():
        click.echo(aligned.line, err=True)
    n_papers = len(aligned.spaces[0])
    if n_papers < FEWEST:
        raise OptionError(
            f"expected at least {FEWEST} papers with vectors in {' and '.join(path for path, _ in chosen)},"
            f" found {n_papers}"
        )
    n = _sample_size(sample, n_papers, default)
    # By id, so that no number depends on the order of the corpus, not even by the rounding of products
    by_id = np.argsort(np.array(aligned.spaces[0].ids), kind="stable")
    spaces = tuple(
        transformed(space.take(by_id).sample(n, seed=seed), kind or transform)
        for space, (_, kind) in zip(aligned.spaces, chosen, strict=True)
    )
    return replace(aligned, spaces=spaces)


def _check_transform(kind: str | None) -> None:
    from embedsearch.transform import TransformSpec

    if kind not in (None, "none"):
        TransformSpec.parse(kind)


def transformed(space: Space, kind: str | None) -> Space:
    """The space after a transform that the command line named; `none`, or None, is no transform."""
    return space if kind in (None, "none") else space.transformed(kind)


def _sample_size(sample: str | None, n_papers: int, default: int | None) -> int:
    from embedsearch.errors import OptionError

    if sample == "all" or (sample is None and default is None):
        return n_papers
    if sample is None:
        return min(n_papers, default or n_papers)
    if not sample.isdigit() or int(sample) < FEWEST:
        raise OptionError(f"expected a sample of at least {FEWEST} papers, or all, found {sample!r}")
    if int(sample) > n_papers:
        raise OptionError(f"expected a sample of at most {n_papers:,} papers, all there are, found {int(sample):,}")
    return int(sample)
