"""The map's file in a real browser, opened from disk: what one sees, and what the pointer and the keys do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browsing import NEEDED, focused, said
from map_browsing import MIDDLE, ONE, colour_at, labels, place, rings, settle, shown

pytestmark = NEEDED


@pytest.fixture(scope="module")
def one(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with shown(browser, tmp_path_factory.mktemp("one"), [ONE]) as page:
        yield page


@pytest.fixture
def page(one: Any) -> Any:
    """The page of one map as it was at first."""
    one.locator("#q").fill("")
    one.locator("#by").select_option("category")
    one.evaluate("document.querySelectorAll('#all:not([hidden])').forEach((button) => button.click())")
    one.locator("#q").press("Escape")
    one.locator("[data-zoom=all]").first.click()
    one.locator("#q").focus()
    one.keyboard.press("Escape")
    one.mouse.move(5, 5)
    settle(one)
    return one


def test_points_are_drawn_in_the_colours_of_their_categories(page: Any) -> None:
    shown_colours = {}
    for row in range(MIDDLE, MIDDLE + 4):
        colour = np.array(colour_at(page, place(page, ONE, row)))
        assert not (colour > 250).all(), "no point there"
        shown_colours[ONE.categories[row]] = colour
    swatches = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#legend li")].map((item) => {
          const [swatch, name] = item.querySelectorAll("span");
          return [name.textContent, getComputedStyle(swatch).backgroundColor.match(/\\d+/g).map(Number)];
        }))"""
    )
    for name, colour in shown_colours.items():
        nearest = min(swatches, key=lambda other: float(np.abs(white(swatches[other]) - white(colour)).sum()))
        assert nearest == name


def white(colour: Any) -> Any:
    """The hue of a colour that is mixed with white: its distance from white, of length 1."""
    away = 255 - np.asarray(colour, float)
    return away / np.linalg.norm(away)


def test_hovering_says_what_a_point_is(page: Any) -> None:
    page.mouse.move(*place(page, ONE, MIDDLE))
    tip = page.locator("#tip")
    tip.wait_for()
    assert tip.locator("b").text_content() == "A pulsar named 210"
    assert tip.locator("span").text_content() == "Müller et al. · 2010 · astro-ph.HE"
    np.testing.assert_allclose(rings(page, "over")[0], place(page, ONE, MIDDLE), atol=1.5)
    page.mouse.move(5, 5)
    tip.wait_for(state="hidden")


def test_a_click_shows_the_card_with_a_link_to_arxiv(page: Any) -> None:
    page.mouse.click(*place(page, ONE, 11))
    card = page.locator("#card")
    card.wait_for()
    assert card.locator("h2").text_content() == "Dust in galaxy number 11"
    assert card.locator("a").get_attribute("href") == "https://arxiv.org/abs/2001.00011"
    assert "noopener" in card.locator("a").get_attribute("rel")
    assert said(page).startswith("Dust in galaxy number 11.")
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    assert rings(page, "chosen") == [None]


def test_the_search_counts_lists_and_goes_through_what_it_finds(page: Any) -> None:
    box = page.locator("#q")
    box.fill("PULSAR muller")
    page.locator("#hits button").first.wait_for()
    expected = [i for i in range(400) if i % 10 == 0 and i % 7 == 0]
    assert page.locator("#count").text_content() == f"{len(expected)} of 400"
    assert said(page) == f"{len(expected)} papers found"
    assert page.locator("#hits button").count() == len(expected)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("#count").text_content() == f"2 of {len(expected)}"
    assert page.locator("#card h2").text_content() == f"A pulsar named {expected[1]}"
    assert page.locator("#hits [aria-current]").text_content().startswith(f"A pulsar named {expected[1]}")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    assert page.locator("#count").text_content() == f"{len(expected)} of {len(expected)}"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#card h2").text_content() == f"A pulsar named {expected[1]}"
    box.fill("2001.00013")
    page.locator("#hits li:only-child").wait_for()
    box.fill("nothing like it")
    page.locator("#found").wait_for(state="hidden")
    assert page.locator("#count").text_content() == "0 of 400"
    assert page.locator("#next").is_hidden()


def test_what_is_found_stands_out(page: Any) -> None:
    before = colour_at(page, place(page, ONE, MIDDLE + 1))
    page.locator("#q").fill("pulsar")
    page.locator("#hits button").first.wait_for()
    settle(page)
    assert min(colour_at(page, place(page, ONE, MIDDLE + 1))) > min(before) + 20
    assert min(colour_at(page, place(page, ONE, MIDDLE))) < 120


def test_the_legend_filters(page: Any) -> None:
    at = place(page, ONE, MIDDLE)
    page.locator("#legend label", has_text="astro-ph.HE").locator("input").uncheck()
    settle(page)
    assert page.locator("#shown").text_content() == "300 of 400 shown"
    assert colour_at(page, at) == [255, 255, 255]
    page.mouse.move(*at)
    assert page.locator("#tip").is_hidden()
    page.locator("#by").select_option("year")
    page.get_by_label("Year, from").fill("2010")
    page.get_by_label("Year, from").press("Enter")
    kept = [i for i in range(400) if i % 4 != 2 and ONE.years[i] >= 2010]
    page.locator("#shown", has_text=re.compile(rf"^{len(kept)} of 400 shown$")).wait_for()
    page.locator("#q").fill("a")
    page.locator("#count", has_text=re.compile(rf"^{len(kept)} of 400$")).wait_for()
    page.locator("#all").click()
    page.locator("#count", has_text=re.compile(r"^400 of 400$")).wait_for()
    page.locator("#q").fill("")
    page.locator("#count", has_text=re.compile(r"^$")).wait_for(state="hidden")
    settle(page)
    assert colour_at(page, at) != [255, 255, 255]


def test_the_density_filters(page: Any) -> None:
    page.locator("#by").select_option("density")
    page.get_by_label("Density in per cent, from").fill("50")
    page.get_by_label("Density in per cent, from").press("Enter")
    page.locator("#shown", has_text="200 of 400 shown").wait_for()
    page.get_by_label("Density in per cent, to").fill("75")
    page.get_by_label("Density in per cent, to").press("Enter")
    page.locator("#shown", has_text="100 of 400 shown").wait_for()
    settle(page)
    assert colour_at(page, place(page, ONE, 199)) == [255, 255, 255]
    assert colour_at(page, place(page, ONE, 201)) != [255, 255, 255]


def test_a_year_has_a_colour_along_the_scale(page: Any) -> None:
    page.locator("#by").select_option("year")
    settle(page)
    late, early = 219, 200  # 2019 and 2000
    assert colour_at(page, place(page, ONE, late))[0] > colour_at(page, place(page, ONE, early))[0] + 50
    assert page.locator(".ticks span").first.text_content() == "2000"


def test_labels_do_not_touch_and_more_come_with_zoom(page: Any) -> None:
    assert labels(page) == {"dusty galaxies", "pulsars & friends"}  # "hidden behind" would lie on it
    page.locator(".plot").focus()
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.locator(".labels .fine.seen").wait_for()
    assert "cold dust" in labels(page)
    assert "dusty galaxies" not in labels(page)
    page.keyboard.press("0")
    page.locator(".labels .fine.seen").wait_for(state="detached")


def test_one_can_drag_zoom_and_go_to_a_region(page: Any) -> None:
    page.mouse.move(*place(page, ONE, MIDDLE))
    box = page.locator(".ring.over").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 109, box["y"] + 59, steps=3)
    page.mouse.up()
    assert page.locator("#card").is_hidden()
    page.mouse.move(box["x"] + 109, box["y"] + 59)
    assert page.locator("#tip b").text_content() == "A pulsar named 210"
    page.mouse.wheel(0, -400)  # what the pointer is on stays there
    settle(page)
    page.mouse.move(box["x"] + 110, box["y"] + 59)
    assert page.locator("#tip b").text_content() == "A pulsar named 210"
    page.locator("summary").click()
    page.locator("#regions button", has_text="dusty").click()
    settle(page)
    plot = page.locator(".plot").bounding_box()
    label = page.locator(".labels > span", has_text="cold dust").bounding_box()
    assert abs(label["x"] + label["width"] / 2 - plot["x"] - plot["width"] / 2) < 60
    page.locator("summary").click()


def test_a_slash_goes_to_the_search(page: Any) -> None:
    page.locator(".plot").focus()
    page.keyboard.press("/")
    assert focused(page) == "q"
    assert page.locator("#q").input_value() == ""
