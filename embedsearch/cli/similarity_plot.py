"""embedsearch similarity-plot"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import index_option, is_quiet, message_options

LARGEST_SAMPLE = 10_000


@click.command(name="similarity-plot")
@index_option
@click.option(
    "--sample",
    type=click.IntRange(min=2),
    metavar="N",
    help=f"Papers to compare. [default: all, up to {LARGEST_SAMPLE:,}]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option("--bins", type=click.IntRange(2, 10_000), help="Bars of the histogram; default: what the pairs can fill.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="figures/similarity.png",
    show_default=True,
    metavar="FILE",
    help="Figure to write: .png, .pdf or .svg.",
)
@message_options
def command(index: Path, sample: int | None, seed: int, bins: int | None, out: Path) -> None:
    """Draw the distribution of the cosine similarities of all pairs of papers in an index."""
    from embedsearch import plots
    from embedsearch.errors import OptionError
    from embedsearch.scores import pair_histogram
    from embedsearch.store.space import Space

    space = Space.open(index)
    chosen = space.sample(sample or min(LARGEST_SAMPLE, len(space)), seed=seed)
    if len(chosen) < 2:
        raise OptionError(f"expected at least 2 papers with vectors in {index}, found {len(chosen)}")
    histogram = pair_histogram(chosen.vectors, n_bins=bins)
    plots.save_similarity_histogram(histogram, out, label=space.model_name)
    if not is_quiet():
        click.echo(
            f"{out}: {histogram.n_pairs:,} pairs of {histogram.n_papers:,} papers, cosine {histogram.mean:.3f} in the"
            f" mean, sd {histogram.sd:.3f}, from {histogram.minimum:.3f} to {histogram.maximum:.3f}",
            err=True,
        )
