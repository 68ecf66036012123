"""embedsearch map"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import format_option, index_option, is_quiet, message_options
from embedsearch.cli.spaces import open_spaces, split_transform
from embedsearch.cli.terminal import Display

if TYPE_CHECKING:
    from embedsearch.map import MapPoints

PAGES, FIGURES, TABLES = (".html", ".htm"), (".png", ".pdf", ".svg"), (".csv", ".json")
LONG = 30_000
"""Papers from which on each step is said in a line, since it takes minutes."""


@click.command(name="map")
@index_option
@click.option(
    "--against", metavar="SPACE", help="Another space on the same papers, drawn beside it: an index or a file."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="figures/map.html",
    show_default=True,
    metavar="FILE",
    help="What to write: .html to look around in, or a figure, .png, .pdf or .svg.",
)
@click.option(
    "--color",
    type=click.Choice(["category", "density", "year"]),
    help="What the colours say. [default: category, or else year, or else density, whichever is known]",
)
@click.option(
    "--neighbors",
    type=click.IntRange(2, 200),
    default=15,
    show_default=True,
    help="Nearest papers that each is kept near to: more for the large structure, fewer for the fine one.",
)
@click.option(
    "--min-dist",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="How close papers may come: 0 for tight knots.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of layout and sample.")
@click.option("--sample", metavar="N|all", help="Papers to draw, the same ones for every model. [default: all]")
@click.option("--transform", metavar="KIND", help="Of every space: center, whiten:K, remove-top:K or truncate:D.")
@click.option(
    "--field", "fields", multiple=True, metavar="OURS=THEIRS", help="A column of a file by another name. Repeatable."
)
@click.option("--size", type=click.Choice(["one-column", "two-column"]), help="Of a figure, for a journal.")
@click.option(
    "--table", type=click.Path(path_type=Path), metavar="FILE", help="Write the place of each paper: .csv or .json."
)
@format_option("table", "json", "csv")
@message_options
def command(
    index: Path,
    against: str | None,
    out: Path,
    color: str | None,
    neighbors: int,
    min_dist: float,
    seed: int,
    sample: str | None,
    transform: str | None,
    fields: tuple[str, ...],
    size: str | None,
    table: Path | None,
    format_: str | None,
) -> None:
    """Draw the papers of an index in two dimensions.

    Papers that are near to one another in the model's space lie together, as far as two dimensions allow: how far that
    is stands in the caption, with what such a map cannot show. Regions are named by the words that set them apart, and
    listed on standard output. The same papers and options give the same map. With --against SPACE, two spaces of the
    same papers side by side in the same colours, and how far their neighbourhoods agree.
    """
    from embedsearch.map import LayoutOptions, make_maps, read_papers
    from embedsearch.map.layout import umap_version
    from embedsearch.render import map_tables, tables

    if size and out.suffix.lower() in PAGES:
        raise click.UsageError("Expected --size with a figure (--out FILE.png, .pdf or .svg): a page fits its window.")
    _check_paths(out, table)
    umap_version()
    options = LayoutOptions(neighbors=neighbors, min_dist=min_dist, seed=seed)
    paths = [str(index), *([against] if against else [])]
    wanted = sample.replace(",", "").replace("_", "") if sample else None
    aligned = open_spaces(paths, sample=wanted, seed=seed, transform=transform, fields=fields, default=None)
    papers = read_papers(aligned.spaces[0].ids, _stores(paths), seed=seed)
    with MapDisplay(len(papers.ids)) as display:
        maps = make_maps(aligned.spaces, papers, options=options, steps=display.begin)
    _write(maps, out, color=color or _color(maps[0]), size=size)
    if table is not None:
        from embedsearch.store.atomic import write_bytes

        text = map_tables.points_text(maps, table.suffix.lower()[1:])
        write_bytes(table, text.encode(errors="replace"))
    made = map_tables.regions_table(maps) if format_ in ("json", "csv") else map_tables.coarse_table(maps)
    if made.rows or format_ in ("json", "csv"):
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(tables.to_text(made, format_ or "table", width=width), nl=False)
    if not is_quiet():
        _say(maps, out, table, has_words=bool(papers.texts))


def _check_paths(out: Path, table: Path | None) -> None:
    """Before minutes of work."""
    from embedsearch.errors import OptionError
    from embedsearch.store.atomic import check_writable

    expected = ((out, (*PAGES, *FIGURES), "a map"), (table, TABLES, "a table"))
    for path, suffixes, what in expected:
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise OptionError(f"expected {what} named *{', *'.join(suffixes)}, found {path.name!r}")
        if path.is_dir():
            raise OptionError(f"expected to write {what} to {path}, found a folder of that name")
        check_writable(path)


def _stores(paths: Sequence[str]) -> list[Path]:
    """Those that know titles and categories."""
    folders = [Path(split_transform(path)[0]) for path in paths]
    return [folder for folder in dict.fromkeys(folders) if (folder / "manifest.json").exists()]


def _color(points: MapPoints) -> str:
    if any(points.categories):
        return "category"
    return "year" if (points.years > 0).any() else "density"


def _write(maps: Sequence[MapPoints], out: Path, *, color: str, size: str | None) -> None:
    if out.suffix.lower() in PAGES:
        from embedsearch.render.map_page import write_map

        write_map(out, maps, color=color)
    else:
        from embedsearch.plots import save_figure
        from embedsearch.plots.map import map_figure

        save_figure(map_figure(maps, color=color, size=size), out)


def _say(maps: Sequence[MapPoints], out: Path, table: Path | None, *, has_words: bool) -> None:
    """Where it is, and what it is worth."""
    said = dict.fromkeys(line for one in maps for line in one.caption.split("\n"))
    for line in said:
        click.echo(line, err=True)
    if not maps[0].regions:
        why = "too few papers lie together" if has_words else "no index that knows the papers' words was given"
        click.echo(f"No regions are named: {why}.", err=True)
    click.echo(f"{out}: {len(maps[0]):,} papers{f'; the place of each: {table}' if table else ''}", err=True)


class MapDisplay(Display):
    """Which step it is, and how far, on stderr."""

    def __init__(self, n_papers: int) -> None:
        super().__init__()
        self._n_papers = n_papers

    def begin(self, what: str) -> Callable[[int, int], None]:
        """The next step; gives what is called with done and total."""
        self._end_task()
        if not self._quiet:
            self._task = self._bar.add_task(what, total=None, rate="")
            if self._n_papers >= LONG and not self._console.is_terminal:
                self._print(what)

        def progress(done: int, total: int) -> None:
            if self._task is not None:
                self._bar.update(self._task, completed=done, total=total)
                self._plain_line(f"{what}: {done / max(total, 1):.0%}")

        return progress
