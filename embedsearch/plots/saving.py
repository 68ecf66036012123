"""Writing figures: the same figure gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from embedsearch.errors import OptionError
from embedsearch.plots.style import journal_style
from embedsearch.store.atomic import check_writable, write_bytes

FORMATS = (".png", ".pdf", ".svg")

# No date and no version in the file: they would be the only thing that differs.
_UNSTAMPED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}


def check_figure_path(path: Path) -> None:
    """Raise where a figure cannot be called `path` (OptionError) or be written there (StoreError).

    To be called before hours of counting.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"expected a figure named *{', *'.join(FORMATS)}, found {path.name!r}")
    for file in (path, path.with_suffix(".json")):  # the numbers stand beside it
        if file.is_dir():
            raise OptionError(f"expected to write a figure to {path}, found a folder of that name: {file.name}")
    check_writable(path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the suffix of `path` names; the folder is made if it is not there.

    Raises OptionError for another suffix, and that or StoreError where it cannot be written.
    """
    check_figure_path(path)
    drawn, format = io.BytesIO(), path.suffix.lower()
    with journal_style():
        figure.savefig(drawn, format=format[1:], metadata=_UNSTAMPED[format])
    write_bytes(path, drawn.getvalue())
