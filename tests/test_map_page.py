"""The map as one HTML file: what is in it, and that nothing can get out of its place."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from map_points import HOSTILE, grid_map

from embedsearch.errors import OptionError, StoreError
from embedsearch.map import MapPoints
from embedsearch.render.map_page import N_SHADES, map_page, write_map

MAP = grid_map()
BOTH = [MAP, grid_map(turned=True)]
PAGE = map_page(BOTH)


class Read(HTMLParser):
    """The elements of a page as a browser finds them, and the texts of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        last = self.elements[-1][0] if self.elements else ""
        if last in self.raw and self.cdata_elem == last:
            self.raw[last][-1] += data


def data(page: str, name: str) -> str:
    found = re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def unpacked(page: str, name: str) -> bytes:
    return gzip.decompress(base64.b64decode(data(page, name), validate=True))


def about(page: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(data(page, "about"))
    return read


def policy(read: Read) -> dict[str, list[str]]:
    [text] = [
        a["content"] for tag, a in read.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert text
    return {words[0]: words[1:] for words in (part.split() for part in text.split(";"))}


def test_the_numbers_can_be_read_back() -> None:
    n = len(MAP)
    raw = unpacked(PAGE, "points")
    wide = np.frombuffer(raw, "<u2", count=6 * n).reshape(6, n)
    narrow = np.frombuffer(raw, np.uint8, offset=12 * n).reshape(4, n)
    for at, one in ((0, BOTH[0]), (2, BOTH[1])):
        np.testing.assert_allclose(wide[at : at + 2] / 32767.5 - 1, one.xy.T, atol=1 / 65535)
    np.testing.assert_array_equal(wide[4], MAP.years)
    assert [about(PAGE)["categories"][i] for i in wide[5]] == list(MAP.categories)
    groups = about(PAGE)["category"]
    assert [groups["names"][i] for i in narrow[0]] == list(MAP.categories)
    assert (narrow[1][MAP.years == 0] == N_SHADES).all()
    assert (narrow[1][MAP.years > 0] < N_SHADES).all()
    assert (narrow[2][0], narrow[2][-1]) == (0, N_SHADES - 1)
    assert len(about(PAGE)["ramp"]["colours"]) == N_SHADES + 1


def test_the_texts_can_be_read_back() -> None:
    lines = unpacked(PAGE, "texts").decode().split("\n")
    assert lines == [*MAP.ids, *MAP.titles, *MAP.authors]


def test_line_breaks_and_broken_letters_in_texts_shift_nothing() -> None:
    odd = grid_map(2, titles=("A\ttitle\r\nof \x85 two\u2028lines", "half \ud800 a letter"))
    assert unpacked(map_page([odd]), "texts").decode().split("\n")[2:4] == ["A title of two lines", "half ? a letter"]


def test_the_policy_names_the_scripts_and_styles_by_hash_and_forbids_all_else() -> None:
    read = Read(PAGE)
    rules = policy(read)
    scripts = [
        text
        for text, (_, a) in zip(read.raw["script"], [e for e in read.elements if e[0] == "script"], strict=True)
        if "type" not in a
    ]
    assert len(scripts) == 2

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == [hashed(text) for text in scripts]
    assert rules["style-src"] == [hashed(text) for text in (*read.raw["style"], "")]
    assert (rules["base-uri"], rules["form-action"]) == (["'none'"], ["'none'"])
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}


def test_nothing_is_loaded_and_no_handler_is_inline() -> None:
    for tag, attributes in Read(PAGE).elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#")
    own = [text for text in Read(PAGE).raw["script"] if text.startswith('"use strict"')]
    assert re.findall(r"https?://[^`]*", "".join(own)) == ["https://arxiv.org/abs/${id}"]


@pytest.mark.parametrize("field", ["titles", "authors", "categories", "ids"])
def test_hostile_texts_of_papers_stay_texts(field: str) -> None:
    hostile = grid_map(3, **{field: (HOSTILE, "b", "c")})
    assert [tag for tag, _ in Read(map_page([hostile])).elements] == [
        tag for tag, _ in Read(map_page([grid_map(3)])).elements
    ]


def test_hostile_labels_and_captions_stay_texts() -> None:
    regions = tuple(type(region)(label=HOSTILE, terms=(HOSTILE,), xy=region.xy, n=1) for region in MAP.regions)
    page = map_page([grid_map(3, label=HOSTILE, caption=HOSTILE, regions=regions)])
    assert [tag for tag, _ in Read(page).elements] == [
        tag for tag, _ in Read(map_page([grid_map(3)])).elements if tag != "br"
    ]
    assert about(page)["maps"][0]["regions"][0]["label"] == HOSTILE
    assert about(page)["maps"][0]["label"] == HOSTILE


def test_the_same_maps_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_map(tmp_path / name, [grid_map(), grid_map(turned=True)], color="year")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert about((tmp_path / "a").read_text())["by"] == "year"


def test_maps_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(OptionError, match="the same papers"):
        map_page([MAP, grid_map(399)])
    with pytest.raises(OptionError, match="at least 1 paper"):
        map_page([])
    with pytest.raises(OptionError, match="at least 1 paper"):
        map_page([grid_map(0)])
    with pytest.raises(OptionError, match="category, density, year, found 'colour'"):
        map_page([MAP], color="colour")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="expected to write"):
        write_map(tmp_path / "file" / "map.html", [MAP])


@pytest.mark.parametrize(
    "given",
    [
        {"years": np.zeros(3, np.int16)},
        {"regions": ()},
        {"categories": ("", "", "")},
        {"xy": np.full((3, 2), 2.0, np.float32)},
    ],
)
def test_a_map_of_which_little_is_known(given: dict[str, Any]) -> None:
    page = map_page([grid_map(3, **given)])
    assert about(page)["n"] == 3
    assert np.frombuffer(unpacked(page, "points"), "<u2", count=6).max() <= 65535


def test_the_title_counts_and_names() -> None:
    def title(maps: list[MapPoints]) -> str:
        found = re.search(r"<title>(.*)</title>", map_page(maps))
        assert found
        return found[1]

    assert title([grid_map(1)]) == "1 paper as minilm sees it"
    assert title([MAP]) == "400 papers as minilm sees them"
    assert title(BOTH) == "400 papers as minilm and smollm2 see them"
    assert title([MAP, MAP]) == "400 papers as minilm sees them"
