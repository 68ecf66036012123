"""Papers like several, and the day's list, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import NEEDED, focused, opened, path, said, search, violations
from page_papers import make_day_store
from playwright.sync_api import expect
from serving import in_process

from embedsearch.server.keys import Role, add_key
from embedsearch.server.page.address import MAX_LIKED

pytestmark = NEEDED

DUST, PLANET = "2301.00001", "1801.00002"


@pytest.fixture(scope="module")
def day_index(page_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_day_store(page_index, tmp_path_factory.mktemp("day") / "index")


@pytest.fixture(scope="module")
def day_url(day_index: Path) -> Iterator[str]:
    with in_process(day_index) as url:
        yield url


def box(page: Any, id: str) -> Any:
    return page.locator(f'.choose input[value="{id}"]')


def bar(page: Any) -> Any:
    return page.locator("#bar")


def like_these(page: Any) -> None:
    bar(page).get_by_role("button").click()
    page.locator(".about").wait_for()


def test_choose_two_go_share_back_and_clear(browser: Any, page_url: str) -> None:
    with opened(browser, page_url) as page:
        page.goto(f"{page_url}/?q=A+planet+dust+mass")
        page.evaluate("window.stayed = true")
        assert not bar(page).is_visible()
        box(page, DUST).check()
        assert path(page) == f"/?q=A+planet+dust+mass&like={DUST}"
        assert said(page) == "1 chosen"
        assert bar(page).get_by_role("button").text_content() == "Papers like this"
        box(page, PLANET).check()
        assert set(path(page).split("&")[1:]) == {f"like={DUST}", f"like={PLANET}"}
        assert page.locator("#n-chosen").text_content() == "2 chosen"
        like_these(page)
        assert page.evaluate("window.stayed") is True
        assert set(path(page).removeprefix("/?").split("&")) == {f"like={DUST}", f"like={PLANET}"}
        assert focused(page) == "heading"
        assert page.locator("#q").input_value() == ""
        assert page.locator(".likes li").count() == 2
        hits, shared = page.locator(".hit h2").all_text_contents(), page.url
        with page.context.new_page() as other:
            other.goto(shared)
            assert other.locator(".hit h2").all_text_contents() == hits
        page.go_back()
        page.locator(".about").wait_for(state="detached")
        assert box(page, DUST).is_checked()
        assert box(page, PLANET).is_checked()
        page.locator("#bar .clear").click()
        assert not bar(page).is_visible()
        assert not page.locator(".choose input:checked").count()
        assert path(page) == "/?q=A+planet+dust+mass"
        assert said(page) == "No paper chosen"
        assert page.evaluate("document.activeElement.matches('.choose input')")


def test_chosen_papers_survive_searches_filters_and_a_reload(page: Any) -> None:
    search(page, "dust mass")
    box(page, DUST).check()
    search(page, "planet")
    assert path(page) == f"/?q=planet&like={DUST}"
    assert bar(page).is_visible()
    box(page, PLANET).check()
    page.locator(".filters a", has_text="gr-qc").click()
    page.locator(".chips a").wait_for()
    assert path(page) == f"/?q=planet&category=gr-qc&like={DUST}&like={PLANET}"
    page.reload()
    assert page.locator("#n-chosen").text_content() == "2 chosen"
    like_these(page)
    page.locator(".off").first.click()
    page.locator(".off").first.wait_for(state="detached")
    assert path(page) == f"/?like={PLANET}&category=gr-qc"


def test_one_more_is_chosen_among_what_is_like_the_others(browser: Any, page_url: str) -> None:
    with opened(browser, page_url) as page:
        page.goto(f"{page_url}/?like={DUST}&like={PLANET}")
        assert not bar(page).is_visible()
        page.get_by_role("link", name="their mean").click()
        page.locator(".about [aria-current]", has_text="their mean").wait_for()
        asked = f"/?like={DUST}&like={PLANET}&combine=mean"
        assert path(page) == asked
        page.locator(".choose input").nth(1).check()
        assert page.locator("#n-chosen").text_content() == "3 chosen"
        assert path(page) == asked  # it is that of the hits
        page.locator("#bar .clear").click()
        assert not bar(page).is_visible()
        assert page.locator(".likes li").count() == 2
        page.locator(".choose input").nth(1).check()
        bar(page).get_by_role("button").click()
        page.locator(".likes li").nth(2).wait_for()
        wanted = path(page).removeprefix("/?").split("&")
        assert wanted[:2] == [f"like={DUST}", f"like={PLANET}"]
        assert len(wanted) == 4
        assert "combine=mean" in wanted


def test_papers_are_chosen_by_keys(page: Any) -> None:
    search(page, "dust mass")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("c")
    assert page.locator("#paper-1 .choose input").is_checked()
    page.locator("#paper-2 .choose input").focus()
    page.keyboard.press("Enter")  # which would search in other forms
    assert page.locator("#paper-2 .choose input").is_checked()
    page.keyboard.press("Space")
    assert not page.locator("#paper-2 .choose input").is_checked()
    assert page.locator("#n-chosen").text_content() == "1 chosen"
    page.keyboard.press("/")
    assert focused(page) == "q"


def test_no_more_than_an_address_may_carry(browser: Any, page_url: str) -> None:
    with opened(browser, page_url) as page:
        page.goto(f"{page_url}/?q=star&k=50")
        page.evaluate(f"[...document.querySelectorAll('.choose input')].slice(0, {MAX_LIKED}).forEach(b => b.click())")
        one_more = page.locator(".choose input").nth(MAX_LIKED)
        one_more.click()
        assert not one_more.is_checked()
        assert said(page) == f"At most {MAX_LIKED} can be chosen"
        like_these(page)
        assert page.locator(".likes li").count() == MAX_LIKED


def test_without_javascript_a_form_does_it(browser: Any, page_url: str) -> None:
    with opened(browser, page_url, java_script_enabled=False) as page:
        page.goto(f"{page_url}/?q=dust+mass")
        assert not bar(page).is_visible()
        box(page, DUST).check()
        assert bar(page).is_visible()
        page.locator("#q").fill("planet")
        page.locator(".box button").click()
        page.wait_for_url("**q=planet**")
        box(page, PLANET).check()
        expect(page.locator("#n-chosen")).to_have_text("With 1 chosen before")
        bar(page).get_by_role("button").click()
        page.wait_for_url(f"{page_url}/?like=*")
        expect(page.locator(".likes li")).to_have_count(2)
        page.locator(".off").first.click()
        expect(page.locator(".likes li")).to_have_count(0)
        expect(page.locator(".about")).to_contain_text("Like")


def test_the_days_list(browser: Any, day_url: str) -> None:
    with opened(browser, day_url) as page:
        page.goto(day_url)
        page.evaluate("window.stayed = true")
        page.locator("#day").click()
        page.locator(".day").wait_for()
        assert path(page) == "/today"
        assert page.title() == "Today’s list – embedsearch"
        assert said(page).startswith("New papers near yours")
        assert page.locator("#day").get_attribute("aria-current") == "page"
        assert page.locator(".hit").count() == 2
        assert page.evaluate("window.stayed") is True
        box(page, DUST).check()
        assert path(page) == f"/today?like={DUST}"
        page.reload()
        assert box(page, DUST).is_checked()
        like_these(page)
        assert path(page) == f"/?like={DUST}"
        assert page.locator("#day").get_attribute("aria-current") is None
        page.go_back()
        page.locator(".day").wait_for()
        assert box(page, DUST).is_checked()
        page.locator(".why a").first.click()
        page.locator(".day").wait_for(state="detached")
        assert path(page) == f"/?q={PLANET}&like={DUST}"


def test_the_days_list_behind_a_key(browser: Any, day_index: Path, tmp_path: Path) -> None:
    token = add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with (
        in_process(day_index, keys_file=tmp_path / "keys.json") as url,
        opened(browser, url, expected=("401",)) as page,
    ):
        page.goto(f"{url}/today")
        page.get_by_label("Key").wait_for()
        assert not page.locator("#day").is_visible()
        page.get_by_label("Key").fill(token)
        page.get_by_role("button", name="Open").click()
        page.locator(".day").wait_for()
        assert page.locator("#day").is_visible()
        assert path(page) == "/today"


@pytest.mark.parametrize("query", [f"/?like={DUST}&like={PLANET}&like=x&k=3", f"/?q=dust&like={DUST}&k=3", "/today"])
def test_accessibility_and_narrow_screens(browser: Any, day_url: str, axe: str, query: str) -> None:
    with opened(browser, day_url) as page:
        page.goto(day_url + query)
        page.locator(".choose input").nth(1).check()
        assert bar(page).is_visible()
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # where the bar hides nothing
        assert violations(page, axe) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page, axe, "color-contrast") == []
        page.set_viewport_size({"width": 320, "height": 800})
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert violations(page, axe) == []
