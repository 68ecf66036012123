"""The page in a real Chromium, as people use it."""

from __future__ import annotations

from typing import Any

from browsing import NEEDED, focused, opened, path, said, search

pytestmark = NEEDED


def test_a_search_without_a_reload(page: Any) -> None:
    page.evaluate("window.stayed = true")
    search(page, "dust mass")
    assert path(page) == "/?q=dust+mass"
    assert page.title() == "dust mass – embedsearch"
    assert page.locator(".hit").count() == 10
    assert said(page) == "The best 10 papers, by meaning and words"
    assert focused(page) == "q"
    assert page.evaluate("window.stayed") is True
    assert "home" not in str(page.locator("body").get_attribute("class"))


def test_the_same_search_again_is_no_step_in_the_history(page: Any) -> None:
    search(page, "dust")
    steps = page.evaluate("history.length")
    search(page, "dust")
    assert page.evaluate("history.length") == steps


def test_an_example_searches(page: Any) -> None:
    page.locator(".examples a").nth(1).click()
    page.locator(".hit").first.wait_for()
    assert page.locator("#q").input_value() == "magnetized plasma turbulence"


def test_a_filter_is_set_kept_and_taken_away(page: Any) -> None:
    search(page, "star")
    page.locator(".filters a", has_text="gr-qc").click()
    page.locator(".chips a").wait_for()
    assert path(page) == "/?q=star&category=gr-qc"
    assert focused(page) == "heading"
    assert set(page.locator(".hit .category").all_text_contents()) == {"gr-qc"}
    search(page, "gas")
    assert path(page) == "/?q=gas&category=gr-qc"
    page.locator(".chips a").click()
    page.locator(".chips").wait_for(state="detached")
    assert path(page) == "/?q=gas"


def test_fields_of_the_filters_belong_to_the_form(page: Any) -> None:
    search(page, "star")
    page.get_by_label("Author").fill("Writer1")
    page.get_by_label("From").fill("2020")
    page.get_by_role("button", name="Apply").click()
    page.locator(".chips a").first.wait_for()
    assert path(page) == "/?q=star&since=2020&author=Writer1"


def test_an_abstract_unfolds_with_its_sentence_marked(page: Any) -> None:
    search(page, "dust mass")
    hit = page.locator(".hit").first
    assert hit.locator(".excerpt").is_visible()
    hit.locator("summary").click()
    assert not hit.locator(".excerpt").is_visible()
    assert "The dust mass is" in hit.locator(".abstract mark").text_content()
    assert hit.locator(".abstract math").first.bounding_box()["width"] > 5


def test_more_like_this_and_back_and_forward(page: Any) -> None:
    search(page, "dust mass")
    page.locator(".alike").first.click()
    page.locator(".about").wait_for()
    assert path(page) == "/?like=2301.00001"
    assert page.locator("#q").input_value() == ""
    page.go_back()
    page.locator(".about").wait_for(state="detached")
    assert path(page) == "/?q=dust+mass"
    assert page.locator("#q").input_value() == "dust mass"
    page.go_back()
    page.locator(".welcome").wait_for()
    assert path(page) == "/"
    page.go_forward()
    page.locator(".hit").first.wait_for()
    assert page.locator("#q").input_value() == "dust mass"
    page.reload()
    assert page.locator(".hit").count() == 10
    assert page.locator("#q").input_value() == "dust mass"


def test_back_returns_to_where_one_was(page: Any) -> None:
    search(page, "star")
    page.evaluate("window.scrollTo(0, 600)")
    page.locator(".hit").nth(3).locator(".alike").click()
    page.locator(".about").wait_for()
    assert page.evaluate("window.scrollY") == 0
    page.go_back()
    page.locator(".about").wait_for(state="detached")
    page.wait_for_function("window.scrollY > 400")
    page.reload()
    page.wait_for_function("window.scrollY > 400")


def test_more_results_go_on_where_they_ended(page: Any) -> None:
    search(page, "star")
    page.locator(".more a").click()
    page.locator("#paper-25").wait_for()
    assert path(page) == "/?q=star&k=25"
    assert focused(page) == "paper-11"


def test_a_mode_searches_again_and_is_in_the_address(page: Any) -> None:
    search(page, "dust")
    page.locator(".modes label", has_text="Words").click()
    page.locator("#heading", has_text=", by words").wait_for()
    assert path(page) == "/?q=dust&mode=keyword"
    page.go_back()
    page.locator("#heading", has_text=", by meaning and words").wait_for()
    assert page.locator('input[value="hybrid"]').is_checked()


def test_keys_of_the_keyboard(page: Any) -> None:
    search(page, "dust mass")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "paper-1"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "paper-3"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "paper-1"
    page.keyboard.press("Enter")
    assert page.locator("#paper-1 .abstract").get_attribute("open") is not None
    page.keyboard.press("Enter")
    assert page.locator("#paper-1 .abstract").get_attribute("open") is None
    page.keyboard.press("/")
    assert focused(page) == "q"
    page.keyboard.type("a/b")
    assert page.locator("#q").input_value() == "a/b"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.locator(".about").wait_for()


def test_bibtex_is_copied(browser: Any, page_url: str) -> None:
    with opened(browser, page_url, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(f"{page_url}/?q=dust+mass")
        page.locator(".bibtex").first.click()
        page.get_by_text("Copied").first.wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith("@misc{")


def test_only_the_last_of_quick_searches_is_shown(page: Any) -> None:
    page.route("**/page/results?q=star", lambda route: None)  # never answered
    page.locator("#q").fill("star")
    page.keyboard.press("Enter")
    search(page, "gas")
    assert path(page) == "/?q=gas"
    assert page.title().startswith("gas")
    assert page.locator("main").get_attribute("aria-busy") is None
