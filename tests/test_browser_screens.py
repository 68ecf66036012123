"""The page in a real Chromium: on narrow screens, in the dark, without JavaScript, with a key, by axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import NEEDED, opened, said, search, violations
from playwright.sync_api import expect
from serving import in_process

from embedsearch.server.keys import Role, add_key

pytestmark = NEEDED


@pytest.mark.parametrize("query", ["/", "/?q=dust+mass", "/?q=planet&k=50", "/?like=9999.99999"])
def test_a_narrow_screen_scrolls_in_one_direction(browser: Any, page_url: str, query: str) -> None:
    with opened(browser, page_url, expected=("404",), viewport={"width": 390, "height": 700}) as page:
        page.goto(page_url + query)
        unfold(page)
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")


def test_keys_are_told_where_there_is_a_keyboard(browser: Any, page_url: str) -> None:
    for has_touch in (False, True):
        with opened(browser, page_url, has_touch=has_touch, is_mobile=has_touch) as page:
            page.goto(page_url)
            assert page.locator(".keys").is_visible() is not has_touch


def test_filters_are_folded_where_there_is_no_room(browser: Any, page_url: str) -> None:
    with opened(browser, page_url, viewport={"width": 390, "height": 700}) as page:
        page.goto(f"{page_url}/?q=star")
        category = page.locator(".filters a", has_text="gr-qc")
        assert not category.is_visible()
        page.locator("#filters > summary").click()
        category.click()
        page.locator(".chips a").wait_for()
        page.set_viewport_size({"width": 1200, "height": 700})
        assert page.locator(".filters a", has_text="gr-qc").is_visible()


def test_errors_are_shown_in_the_page(browser: Any, page_url: str) -> None:
    with opened(browser, page_url, expected=("422", "404", "ERR_FAILED")) as page:
        page.goto(page_url)
        page.locator("#q").fill("star")
        page.keyboard.press("Enter")
        page.locator(".hit").first.wait_for()
        page.get_by_label("From").fill("yesterday")
        page.keyboard.press("Enter")
        page.locator(".sorry").wait_for()
        assert "yesterday" in page.locator(".sorry").text_content()
        assert said(page) == "That cannot be searched for"
        page.route("**/page/results*", lambda route: route.abort())
        page.go_back()
        page.get_by_role("heading", name="The server cannot be reached").wait_for()


@pytest.mark.parametrize("query", ["/?q=plasma&k=50", "/?q=wave&k=50&mode=keyword"])
def test_nothing_of_a_corpus_runs(browser: Any, page_url: str, query: str) -> None:
    with opened(browser, page_url) as page:
        page.goto(page_url + query)
        unfold(page)
        assert page.locator("main script, main img, main b, main i").count() == 0
        assert page.locator('a[href^="javascript"]').count() == 0


def test_without_javascript_all_is_there(browser: Any, page_url: str) -> None:
    with opened(browser, page_url, java_script_enabled=False) as page:
        page.goto(page_url)
        page.locator("#q").fill("dust mass")
        page.locator(".box button").click()
        expect(page.locator(".hit")).to_have_count(10)
        page.locator(".hit summary").first.click()
        assert page.locator(".abstract mark").first.is_visible()
        page.locator(".filters a", has_text="astro-ph.GA").first.click()
        expect(page.locator(".chips a")).to_have_count(1)
        page.locator("#q").fill("star")
        page.locator(".box button").click()
        page.wait_for_url("**q=star**")
        expect(page.locator(".chips a")).to_have_count(1)
        page.locator(".alike").first.click()
        expect(page.locator(".about")).to_have_count(1)
        assert not page.locator(".keys").is_visible()


def test_a_key_is_asked_for_once(browser: Any, page_index: Path, tmp_path: Path) -> None:
    token = add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with (
        in_process(page_index, keys_file=tmp_path / "keys.json") as url,
        opened(browser, url, expected=("401",)) as page,
    ):
        page.goto(f"{url}/?q=dust+mass")
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Open").click()
        page.get_by_text("does not know that key").wait_for()
        page.get_by_label("Key").fill(token)
        page.get_by_role("button", name="Open").click()
        page.locator(".hit").first.wait_for()
        assert page.locator("#q").input_value() == "dust mass"
        assert not page.get_by_label("Key").is_visible()
        assert page.locator("#index").text_content().startswith("44 papers")
        search(page, "star")
        page.reload()
        page.locator(".hit").first.wait_for()
        assert token not in page.content() + page.url
        assert page.evaluate("localStorage.length") == 0
        with page.context.new_page() as other:
            other.goto(url)
            other.get_by_label("Key").wait_for()  # another tab has none


# ---- accessibility --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "/",
        "/?q=dust+mass&category=astro-ph.GA&since=2023&until=2023",
        "/?like=2301.00001&sort=date&k=5",
        "/?q=xyzzy&mode=keyword",
        "/?like=9999.99999",
    ],
)
def test_accessibility(browser: Any, page_url: str, axe: str, query: str) -> None:
    with opened(browser, page_url, expected=("404",)) as page:
        page.goto(page_url + query)
        unfold(page)
        assert violations(page, axe) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page, axe, "color-contrast") == []
        page.set_viewport_size({"width": 320, "height": 800})
        unfold(page)
        assert violations(page, axe) == []


def test_dark_is_dark(page: Any) -> None:
    lightness = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert page.evaluate(lightness) > 200
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(lightness) < 50


def test_accessibility_of_the_question_for_a_key(browser: Any, page_index: Path, tmp_path: Path, axe: str) -> None:
    add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with in_process(page_index, keys_file=tmp_path / "keys.json") as url, opened(browser, url) as page:
        page.goto(url)
        page.get_by_label("Key").wait_for()
        assert violations(page, axe) == []


def test_axe_would_find_something(page: Any, axe: str) -> None:
    page.locator("#q").evaluate("box => { box.removeAttribute('id'); box.removeAttribute('placeholder'); }")
    page.evaluate("document.querySelector('.welcome p').className = 'pale'")
    page.locator(".pale").evaluate("words => { words.attributeStyleMap.set('color', '#ddd'); }")
    found = " ".join(violations(page, axe))
    assert "label" in found
    assert "color-contrast" in found
