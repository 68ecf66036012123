"""Tables of results: one set of rows as text for people, JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from embedsearch.errors import OptionError

FORMATS = ("table", "json", "csv", "latex")
UNKNOWN = "–"
"""What stands for None and NaN where people read."""


@runtime_checkable
class WithError(Protocol):
    """A number and its standard error, as `pairs.moments.Estimate` has them."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def error(self) -> float:
        """Its standard error; NaN where it is not known."""


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is the key in JSON and CSV, `label` the heading for people (by default the name).

    `digits` are the decimals that people see of a float; with an error it is the error that says how many.
    """

    name: str
    label: str = ""
    digits: int = 3

    @property
    def heading(self) -> str:
        """What people read."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of str, bool, int, float, None, lists of them, or numbers with an error (`WithError`).

    A number with an error is two values in JSON and CSV, NAME and NAME_error. NumPy's numbers will do.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise OptionError(f"expected {len(self.columns)} cells in row {number} of a table, found {len(row)}")


def to_text(table: Table, format: str, *, width: int | None = None) -> str:
    """The table as `table` (text for people), `json` (a list of objects), `csv` or `latex` (booktabs).

    Numbers in JSON and CSV are whole; None and NaN are null and empty there. `width` is the terminal's, into which long
    texts of `table` are folded (numbers never are); None takes what it needs. Raises OptionError for another format.
    """
    if format == "table":
        return _to_plain(table, width)
    if format == "json":
        return to_json(to_records(table))
    if format == "csv":
        return _to_csv(table)
    if format == "latex":
        return _to_latex(table)
    raise OptionError(f"expected a format of {', '.join(FORMATS)}, found {format!r}")


def to_records(table: Table) -> list[dict[str, Any]]:
    """The rows as JSON has them: plain Python values, None for NaN and infinity."""
    with_errors = [any(isinstance(row[i], WithError) for row in table.rows) for i in range(len(table.columns))]
    return [_record(table, row, with_errors) for row in table.rows]


def _record(table: Table, row: tuple[Any, ...], with_errors: list[bool]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column, cell, has_errors in zip(table.columns, row, with_errors, strict=True):
        record[column.name] = _plain(cell.value if isinstance(cell, WithError) else cell)
        if has_errors:
            record[f"{column.name}_error"] = _plain(cell.error) if isinstance(cell, WithError) else None
    return record


def to_json(value: Any) -> str:
    """Any nesting of dicts, lists and NumPy's numbers as JSON, NaN and infinity as null; ends in a newline.

    What a shell makes of bytes that are no UTF-8 (a path, the command itself) is "?": no JSON can hold it.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=2)
    return text.encode(errors="replace").decode() + "\n"


def _plain(cell: Any) -> Any:
    """As the json module takes it."""
    if hasattr(cell, "tolist"):  # NumPy's scalars and arrays
        cell = cell.tolist()
    if isinstance(cell, dict):
        return {key: _plain(value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [_plain(part) for part in cell]
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell


def _to_csv(table: Table) -> str:
    records = to_records(table)
    buffer = io.StringIO()
    names = list(records[0]) if records else [column.name for column in table.columns]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: "; ".join(map(str, v)) if isinstance(v, list) else v for name, v in record.items()})
    return buffer.getvalue()


def counted(n: int, noun: str) -> str:
    """1 paper, 2 papers."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def shown(cell: Any, digits: int = 3) -> str:
    """A cell as people read it: 1,234, 0.123, 0.1234 ± 0.0012 (two digits of the error)."""
    if isinstance(cell, WithError):
        value, error = _plain(cell.value), _plain(cell.error)
        if value is None or not error or error < 0:
            return shown(value, digits)
        decimals = _decimals(error)
        return f"{value:.{decimals}f} ± {error:.{decimals}f}"
    cell = _plain(cell)
    if cell is None:
        return UNKNOWN
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.{digits}f}"
    if isinstance(cell, list):
        return ", ".join(shown(part, digits) for part in cell)
    return printable(str(cell))


def _decimals(error: float) -> int:
    """Decimals that show two digits of an error: 2 for 0.12, 4 for 0.0012, at most 12."""
    return min(max(1 - math.floor(math.log10(float(f"{error:.1e}"))), 0), 12)


def printable(text: str) -> str:
    """`text` on one line and without control characters, which could command a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _is_number(cell: Any) -> bool:
    return cell is None or isinstance(cell, WithError) or isinstance(_plain(cell), (int, float))


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers alone, and stand to the right."""
    return [all(_is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]


def _to_plain(table: Table, width: int | None) -> str:
    from rich.console import Console  # here: what makes JSON does not wait for it
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for column, right in zip(table.columns, _numeric(table), strict=True):
        grid.add_column(
            Text(printable(column.heading)),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or width is None,
        )
    for row in table.rows:
        grid.add_row(*(Text(shown(cell, column.digits)) for column, cell in zip(table.columns, row, strict=True)))
    console = Console(file=io.StringIO(), width=100_000, color_system=None, markup=False, highlight=False)
    if width is not None:
        console.width = max(width, console.measure(grid).minimum)
    with console.capture() as captured:
        console.print(grid)
        if table.caption:
            console.print(Text(f"\n{printable(table.caption)}"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _to_latex(table: Table) -> str:
    numeric = _numeric(table)
    lines = [
        "\\begin{tabular}{" + "".join("r" if right else "l" for right in numeric) + "}",
        "\\toprule",
        " & ".join(escaped(column.heading) for column in table.columns) + " \\\\",
        "\\midrule",
        *(
            " & ".join(_latex_cell(cell, column.digits) for column, cell in zip(table.columns, row, strict=True))
            + " \\\\"
            for row in table.rows
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if table.caption:
        caption = f"\\caption{{{escaped(table.caption)}}}"
        lines = ["\\begin{table}", "\\centering", caption, *lines, "\\end{table}"]
    return "\n".join(["% needs \\usepackage{booktabs}", *lines, ""])


def _latex_cell(cell: Any, digits: int) -> str:
    text = shown(cell, digits)
    if text == UNKNOWN:
        return "--"
    if _is_number(cell) and not isinstance(_plain(cell), bool):
        # In mathematics a comma is followed by space, unless it stands in braces
        return f"${text.replace(',', '{,}').replace('±', chr(92) + 'pm')}$"
    return escaped(text)


def escaped(text: str) -> str:
    """`text` for LaTeX: what has a meaning there is escaped, what is not ASCII is a command where one is known."""
    from pylatexenc.latexencode import unicode_to_latex

    encoded: str = unicode_to_latex(printable(text), unknown_char_policy="keep", unknown_char_warning=False)
    return encoded.replace("|", "{\\textbar}")  # which LaTeX's old fonts print as a dash
