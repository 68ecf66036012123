"""A table in each form."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from embedsearch.errors import OptionError
from embedsearch.pairs.moments import Estimate
from embedsearch.render.tables import Column, Table, escaped, shown, to_text

COLUMNS = (Column("space"), Column("mean", "mean cosine"), Column("n", "papers"))
TABLE = Table(
    COLUMNS,
    (("a_b", Estimate(0.12345, 0.00123), np.int64(12345)), ("c", Estimate(-0.9, float("nan")), None)),
    "Of 3 papers & more",
)


def test_json_keeps_the_types_and_has_null_for_what_is_not_known() -> None:
    assert json.loads(to_text(TABLE, "json")) == [
        {"space": "a_b", "mean": 0.12345, "mean_error": 0.00123, "n": 12345},
        {"space": "c", "mean": -0.9, "mean_error": None, "n": None},
    ]


def test_json_of_arrays_lists_and_infinity() -> None:
    table = Table((Column("x"),), ((np.array([1.5, np.nan]),), ((True, "b"),), (float("inf"),)))
    assert [row["x"] for row in json.loads(to_text(table, "json"))] == [[1.5, None], [True, "b"], None]


def test_csv_reads_back() -> None:
    table = Table((Column("x"), Column("y")), (('a "b", c\nd', ("p", "q")), (0.1 + 0.2, None)))
    rows = list(csv.DictReader(io.StringIO(to_text(table, "csv"))))
    assert rows == [{"x": 'a "b", c\nd', "y": "p; q"}, {"x": "0.30000000000000004", "y": ""}]
    assert to_text(TABLE, "csv").splitlines() == ["space,mean,mean_error,n", "a_b,0.12345,0.00123,12345", "c,-0.9,,"]


def test_an_empty_table_keeps_its_head() -> None:
    empty = Table(COLUMNS, ())
    assert to_text(empty, "csv") == "space,mean,n\n"
    assert json.loads(to_text(empty, "json")) == []
    assert to_text(empty, "table").split() == ["space", "mean", "cosine", "papers"]


def test_text_is_aligned_numbers_to_the_right() -> None:
    assert to_text(TABLE, "table") == (
        "space      mean cosine  papers\n"
        "a_b    0.1235 ± 0.0012  12,345\n"
        "c               -0.900       –\n"
        "\nOf 3 papers & more\n"
    )  # fmt: skip


def test_long_texts_are_folded_into_the_width_and_numbers_are_not() -> None:
    table = Table((Column("title"), Column("x")), (("word " * 20, 0.123456),))
    assert max(map(len, to_text(table, "table", width=30).splitlines())) <= 30
    assert "0.123" in to_text(table, "table", width=3)
    assert to_text(table, "table").count("\n") == 2


def test_a_terminal_is_not_commanded_by_a_title() -> None:
    assert to_text(Table((Column("x"),), (("a\x1b[2Jb\u202e[red]",),)), "table").splitlines()[1] == "a [2Jb [red]"


def test_latex() -> None:
    assert to_text(TABLE, "latex").splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Of 3 papers \& more}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"space & mean cosine & papers \\",
        r"\midrule",
        r"a\_b & $0.1235 \pm 0.0012$ & $12{,}345$ \\",
        r"c & $-0.900$ & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_latex_without_a_caption_is_a_tabular_alone() -> None:
    assert "table}" not in to_text(Table(COLUMNS, ()), "latex")


def test_what_latex_reads_as_a_command_is_escaped() -> None:
    assert escaped(r"50% of $x_1$ {a}\b #") == r"50\% of \$x\_1\$ \{a\}{\textbackslash}b \#"
    assert escaped("a | b") == r"a {\textbar} b"
    assert escaped("Λ") == r"\ensuremath{\Lambda}"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Estimate(0.5, 0.0996), "0.50 ± 0.10"),
        (Estimate(0.5, 0.0999), "0.50 ± 0.10"),
        (Estimate(123.4, 25.0), "123 ± 25"),
        (Estimate(0.5, 0.0), "0.500"),
        (Estimate(float("nan"), 0.1), "–"),
        (1234567, "1,234,567"),
        (True, "yes"),
        (np.float32(0.25), "0.250"),
        ([1, 2.5], "1, 2.500"),
        (None, "–"),
    ],
)
def test_what_people_read(cell: object, text: str) -> None:
    assert shown(cell) == text


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(OptionError, match="expected 3 cells in row 1 of a table, found 1"):
        Table(COLUMNS, (("a",),))


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(OptionError, match="expected a format of table, json, csv, latex, found 'xml'"):
        to_text(TABLE, "xml")
