"""A real Chromium for tests: any error that it reports, and any request to elsewhere, is a failure."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs playwright"),
]
"""Marks of a test that uses it."""

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, *, expected: tuple[str, ...] = (), **context: Any) -> Iterator[Any]:
    """A page; at its end it must have asked no other origin, and reported no error but those `expected`."""
    with browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | context)) as made:
        made.set_default_timeout(20_000)
        page = made.new_page()
        reported: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: message.type in ("error", "warning") and reported.append(message.text))
        page.on("pageerror", lambda error: reported.append(str(error)))
        page.on("dialog", lambda dialog: (reported.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        yield page
        assert [text for text in reported if not any(part in text for part in expected)] == []
        assert [asked for asked in requests if not asked.startswith(url)] == []


def search(page: Any, text: str) -> None:
    """Ask for `text`, and wait until its papers stand there, in place of any others."""
    page.locator("#q").fill(text)
    with page.expect_response("**/page/results*"):
        page.keyboard.press("Enter")
    page.locator(f'#view[data-title="{text}"] .hit').first.wait_for()


def path(page: Any) -> str:
    return str(page.evaluate("location.pathname + location.search"))


def said(page: Any) -> str:
    return str(page.locator("#said").text_content())


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.id"))


def axe_script() -> str | None:
    """axe-core, or None where it is not installed."""
    spec = importlib.util.find_spec("axe_playwright_python")
    return None if spec is None or spec.origin is None else (Path(spec.origin).parent / "axe.min.js").read_text()


def violations(page: Any, axe: str, *rules: str) -> list[str]:
    """What axe finds: by all rules of WCAG 2.2 AA and good practice, or by `rules` alone."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": tags}
    found = page.evaluate("only => axe.run(document, {runOnly: only})", only)
    assert len(found["passes"]) >= (len(rules) or 15)
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]
