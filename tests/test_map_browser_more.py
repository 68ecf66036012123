"""The map's file in a real browser: two maps, hostile texts, without a graphics card, on a phone, by axe-core."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import NEEDED
from map_browsing import MIDDLE, ONE, TWO, colour_at, place, rings, settle, shown
from map_points import HOSTILE, grid_map

pytestmark = NEEDED


def test_two_maps_show_the_same_paper(browser: Any, tmp_path: Path) -> None:
    with shown(browser, tmp_path, TWO, color="density") as page:
        page.mouse.move(*place(page, TWO[1], MIDDLE, plot=1))
        page.locator("#tip").wait_for()
        for plot, ring in enumerate(rings(page, "over")):
            np.testing.assert_allclose(ring, place(page, TWO[plot], MIDDLE, plot=plot), atol=1.5)
        page.mouse.click(*place(page, TWO[1], MIDDLE, plot=1))
        assert page.locator("#card h2").text_content() == "A pulsar named 210"
        assert None not in rings(page, "chosen")
        page.locator("#q").fill("2001.00399")
        page.keyboard.press("Enter")
        settle(page)
        middles = [
            (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            for box in (plot.bounding_box() for plot in page.locator(".plot").all())
        ]
        np.testing.assert_allclose(rings(page, "chosen"), middles, atol=2)


def test_hostile_texts_are_shown_as_they_are(browser: Any, tmp_path: Path) -> None:
    regions = tuple(type(region)(label=HOSTILE, terms=(HOSTILE,), xy=region.xy, n=1) for region in ONE.regions[:1])
    n = 4
    texts = dict.fromkeys(("titles", "authors", "categories"), (HOSTILE,) * n)
    ids = tuple(f"javascript:alert({i})//{HOSTILE}" for i in range(n))
    hostile = grid_map(n, **texts, ids=ids, label=HOSTILE, caption=HOSTILE, regions=regions)
    with shown(browser, tmp_path, [hostile]) as page:
        page.mouse.click(*place(page, hostile, 0))
        assert page.locator("#card h2").text_content() == HOSTILE
        assert page.locator("#card a").count() == 0
        assert page.locator("figcaption").text_content() == HOSTILE
        page.locator("#q").fill("</script>")
        page.locator("#hits button").first.wait_for()
        assert page.locator("#hits button").first.text_content().startswith(HOSTILE)
        assert page.locator(".labels > span").first.text_content() == HOSTILE


def test_without_a_graphics_card_it_is_drawn_all_the_same(browser: Any, tmp_path: Path) -> None:
    with shown(browser, tmp_path, [ONE], card=False) as page:
        at = place(page, ONE, MIDDLE)
        assert colour_at(page, at) != [255, 255, 255]
        page.mouse.move(*at)
        assert page.locator("#tip b").text_content() == "A pulsar named 210"
        page.locator("#q").fill("pulsar")
        page.locator("#hits button").first.wait_for()
        settle(page)
        assert min(colour_at(page, at)) < 120
        page.locator("#legend label", has_text="astro-ph.HE").locator("input").uncheck()
        settle(page)
        assert colour_at(page, at) == [255, 255, 255]


def test_in_the_dark_on_a_phone(browser: Any, tmp_path: Path) -> None:
    phone = {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "has_touch": True,
        "device_scale_factor": 2,
    }
    with shown(browser, tmp_path, TWO, **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(15, 19, 28)"
        page.touchscreen.tap(*place(page, ONE, MIDDLE))
        page.locator("#card").wait_for()
        assert page.locator("#card h2").text_content() == "A pulsar named 210"


def test_it_prints_what_is_seen_on_white(browser: Any, tmp_path: Path) -> None:
    with shown(browser, tmp_path, [ONE], color_scheme="dark") as page:
        page.locator("#legend label", has_text="astro-ph.HE").locator("input").uncheck()
        settle(page)
        left, top = (page.locator(".plot").bounding_box()[side] + 1 for side in ("x", "y"))
        places = [place(page, ONE, row) for row in (MIDDLE + 1, MIDDLE)]
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator(".print").is_visible()
        assert page.locator(".points").is_hidden()
        assert page.locator("#q").is_hidden()
        there, hidden, swatch = page.evaluate(
            """([left, top, places]) => {
              const picture = document.querySelector(".print");
              const [width, height] = [picture.width, picture.height];
              const copy = Object.assign(document.createElement("canvas"), { width, height });
              const context = copy.getContext("2d", { willReadFrequently: true });
              context.drawImage(picture, 0, 0);
              const swatch = [...document.querySelectorAll("#legend .swatch")].at(3);
              const at = ([x, y]) => [...context.getImageData(2 * (x - left), 2 * (y - top), 1, 1).data].slice(0, 3);
              return [...places.map(at), getComputedStyle(swatch).backgroundColor];
            }""",
            [left, top, places],
        )
        assert min(there) < 150
        assert hidden == [255, 255, 255]
        assert swatch == "rgb(230, 159, 0)"
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen")
        assert page.locator(".print").count() == 0


def test_a_map_of_one_paper(browser: Any, tmp_path: Path) -> None:
    single = grid_map(1, xy=np.array([[0.5, -0.5]], np.float32), regions=())
    with shown(browser, tmp_path, [single]) as page:
        box = page.locator(".plot").bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert page.locator("#card h2").text_content() == "A pulsar named 0"


def test_two_fingers_zoom(browser: Any, tmp_path: Path) -> None:
    with shown(browser, tmp_path, [ONE], has_touch=True) as page:
        touch = page.context.new_cdp_session(page)
        x, y = place(page, ONE, MIDDLE)

        def fingers(kind: str, apart: float) -> None:
            points = [] if kind == "touchEnd" else [{"x": x + side * apart, "y": y, "id": side} for side in (-1, 1)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", 40)
        for apart in (60, 90, 120):
            fingers("touchMove", apart)
        fingers("touchEnd", 0)
        assert page.locator("#card").is_hidden()
        page.touchscreen.tap(x, y)  # what was between the fingers is there still
        assert page.locator("#card h2").text_content() == "A pulsar named 210"
        np.testing.assert_allclose(rings(page, "chosen")[0], (x, y), atol=4)
        page.touchscreen.tap(x + 3 * (place(page, ONE, MIDDLE + 1)[0] - x), y)  # three times as near
        assert page.locator("#card h2").text_content() == "Dust in galaxy number 211"


def test_papers_of_which_only_ids_are_known(browser: Any, tmp_path: Path) -> None:
    n = 9
    ids = ("math/0001001", "10.1000/182", *(f"paper {i}" for i in range(n - 2)))
    empty = ("",) * n
    bare = grid_map(
        n, ids=ids, titles=empty, authors=empty, categories=empty, years=np.zeros(n, np.int16), regions=()
    )  # fmt: skip
    with shown(browser, tmp_path, [bare], color="density") as page:
        assert page.locator("#by option").all_text_contents() == ["density"]
        assert page.locator("#places").is_hidden()
        page.mouse.click(*place(page, bare, 0))
        assert page.locator("#card h2").text_content() == "math/0001001"
        assert page.locator("#card a").get_attribute("href") == "https://arxiv.org/abs/math/0001001"
        page.mouse.click(*place(page, bare, 1))
        assert page.locator("#card h2").text_content() == "10.1000/182"
        assert page.locator("#card a").count() == 0
        page.locator("#q").fill("10.1000")
        page.keyboard.press("Enter")
        assert page.locator("#count").text_content() == "1 of 1"


def test_accessibility(browser: Any, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    script = (Path(spec.origin).parent / "axe.min.js").read_text()
    with shown(browser, tmp_path, TWO, card=False) as page:
        page.evaluate(script)
        page.locator("#q").fill("pulsar")
        page.keyboard.press("Enter")
        page.locator("summary").click()
        settle(page)
        for scheme, by in (("light", "category"), ("dark", "year")):
            page.emulate_media(color_scheme=scheme)
            page.locator("#by").select_option(by)
            settle(page)
            found = page.evaluate("axe.run().then((result) => result.violations)")
            assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found] == []
