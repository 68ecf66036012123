"""Writing figures: the same figure gives the same bytes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from embedsearch.errors import OptionError
from embedsearch.plots.style import journal_style
from embedsearch.store.atomic import write_bytes

FORMATS = (".png", ".pdf", ".svg")

# No date and no version in the file: they would be the only thing that differs.
_UNSTAMPED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}


def check_figure_path(path: Path) -> None:
    """Raise OptionError where a figure cannot be called `path`, or not be written there: before hours of counting."""
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"expected a figure named *{', *'.join(FORMATS)}, found {path.name!r}")
    if path.is_dir():
        raise OptionError(f"expected to write a figure to {path}, found a folder of that name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made and taken away again: permissions alone do not tell (who is root may do all, and /proc takes nothing).
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OptionError(f"expected to write a figure to {path}, found: {error.strerror or error}") from error


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the suffix of `path` names; the folder is made if it is not there.

    Raises OptionError for another suffix, and that or StoreError where it cannot be written.
    """
    check_figure_path(path)
    drawn, format = io.BytesIO(), path.suffix.lower()
    with journal_style():
        figure.savefig(drawn, format=format[1:], metadata=_UNSTAMPED[format])
    write_bytes(path, drawn.getvalue())
