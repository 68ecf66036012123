"""The page of a day's list in a browser, from a disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import NEEDED, opened
from fake_encoder import FakeEncoder
from today_store import make_home, today

pytestmark = NEEDED


@pytest.fixture(scope="module")
def page_of_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of new papers, with titles that want to be escaped."""
    home = make_home(tmp_path_factory.mktemp("today"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedsearch.cli.add.service_of", lambda *arguments: FakeEncoder())
        assert today(home, "--no-fetch", "new.jsonl", "--out", "page.html").returncode == 0
    return home / "page.html"


@pytest.mark.parametrize("context", [{}, {"viewport": {"width": 360, "height": 700}, "color_scheme": "dark"}])
def test_a_page_opens_from_a_disk(page_of_day, browser, context):
    address = page_of_day.as_uri()
    with opened(browser, address, **context) as page:
        page.goto(address)
        assert page.locator("article").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("summary").first.click()
        assert page.locator("details p").first.is_visible()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 23, 27)" if context else "rgb(255, 255, 255)")
