"""embedsearch similarity-plot"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from embedsearch.cli.options import format_option, index_option, is_quiet, message_options
from embedsearch.cli.spaces import PairDisplay, open_spaces, space_options


@click.command(name="similarity-plot")
@index_option
@space_options
@click.option("--bins", type=click.IntRange(1, 50), default=10, show_default=True, help="Bins of the ridgeline.")
@click.option(
    "--binning",
    type=click.Choice(["quantile", "width"]),
    default="quantile",
    show_default=True,
    help="Bins of equal count, or of equal width.",
)
@click.option(
    "--bin-by",
    type=click.Choice(["reference", "index", "both"]),
    default="reference",
    show_default=True,
    help="Whose similarity makes the bins: the first --against space, the index, or each in a panel of its own.",
)
@click.option(
    "--style",
    type=click.Choice(["ridgeline", "overlay", "joint"]),
    help="Bins one above the other; whole distributions; or two spaces along two axes. [default: ridgeline with"
    " --against, else overlay]",
)
@click.option("--panels", metavar="KIND,...", help="A panel for each of these transforms: raw,center,whiten:64")
@click.option(
    "--size", type=click.Choice(["one-column", "two-column"]), help="Of a journal; default: what the panels need."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="figures/similarity.png",
    show_default=True,
    metavar="FILE",
    help="Figure to write: .png, .pdf or .svg. Every number drawn is written beside it, as .json.",
)
@click.option("--csv", is_flag=True, help="Write the numbers of the table as .csv too.")
@format_option("table", "json", "csv", "latex")
@message_options
def command(
    index: Path,
    against: tuple[str, ...],
    sample: str | None,
    seed: int,
    transform: str | None,
    fields: tuple[str, ...],
    fast: bool,
    device: str,
    bins: int,
    binning: str,
    bin_by: str,
    style: str | None,
    panels: str | None,
    size: str | None,
    out: Path,
    csv: bool,
    format_: str | None,
) -> None:
    """Draw how alike a model, or several, find all pairs of papers.

    Alone: the distribution of the cosine similarities of all pairs in an index. With --against SPACE: the figure of the
    AstroLLaMA paper, which sorts the pairs into bins by the similarity that one model gives them and shows in each bin
    what every model makes of them. A space that is not binned by spreads more in each bin by construction: look at both
    with --bin-by both. A table of the numbers goes to standard output.
    """
    from embedsearch import plots
    from embedsearch.pairs.similarity import similarity_figure
    from embedsearch.render import similarity as figure_files

    if bin_by != "reference" and not against:
        raise click.UsageError("Expected --against SPACE with --bin-by: there is one space to bin by.")
    plots.check_figure_path(out)
    kinds = _panels(panels)
    style = style or ("ridgeline" if against else "overlay")
    # The reference comes first, as in the paper's figure
    aligned = open_spaces(
        [*against[:1], str(index), *against[1:]], sample=sample, seed=seed, transform=transform, fields=fields
    )
    by = {"reference": (0,), "index": (1,), "both": (0, 1)}[bin_by] if style == "ridgeline" else ()
    plots.check_parts(len(aligned.spaces), style)
    with PairDisplay() as display:
        display.forecast(aligned.spaces, n_passes=len(kinds) * (1 + len(by)), fast=fast, device=device)
        data = similarity_figure(
            aligned.spaces, panels=kinds, n_bins=bins, binning=binning, by=by, fast=fast, device=device,
            passes=display.begin,
        )  # fmt: skip
    plots.save_figure(plots.similarity_figure(data, style=style, size=size), out)
    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]]), "seed": seed, "style": style}
    written = figure_files.write_data(data, out, about=about, csv=csv)
    click.echo(figure_files.to_text(data, format_ or "table"), nl=False)
    if not is_quiet():
        beside = ", ".join(str(path) for path in written)
        click.echo(f"{out}: {data.n_pairs:,} pairs of {data.n_papers:,} papers; every number drawn: {beside}", err=True)


def _panels(text: str | None) -> list[str]:
    from embedsearch.errors import OptionError
    from embedsearch.transform import TransformSpec

    kinds = [kind.strip() for kind in (text or "raw").split(",")]
    for kind in kinds:
        if kind != "raw":
            TransformSpec.parse(kind)
    if len(set(kinds)) < len(kinds):
        raise OptionError(f"expected each panel once, found {text!r}")
    return kinds
