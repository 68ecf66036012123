"""What the tests of the map in a browser share: opening its file, where its papers are, what is drawn there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browsing import opened
from map_points import grid_map

from embedsearch.map import MapPoints
from embedsearch.render.map_page import write_map

SOFTWARE = ("GPU stall due to ReadPixels",)
"""What Chromium says where no card draws."""
WEBGL = """(() => {
  const real = WebGLRenderingContext.prototype.getParameter;
  WebGLRenderingContext.prototype.getParameter = function (name) {
    const isName = name === this.RENDERER || name === 37446;  // UNMASKED_RENDERER_WEBGL
    return isName ? "a card" : real.call(this, name);
  };
})()"""
"""Makes the page draw as with a graphics card."""
ONE = grid_map()
TWO = [ONE, grid_map(turned=True)]
MIDDLE = 210
"""A paper of the grid of 20 by 20, right of the middle and above it."""


@contextmanager
def shown(
    browser: Any, folder: Path, maps: list[MapPoints], *, card: bool = True, color: str = "category", **context: Any
) -> Iterator[Any]:
    """The page of `maps`, ready."""
    file = folder / "map.html"
    write_map(file, maps, color=color)
    with opened(browser, file.as_uri(), expected=SOFTWARE, **context) as page:
        if card:
            page.add_init_script(WEBGL)
        page.context.set_offline(True)
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=all]", state="attached")
        settle(page)
        assert page.evaluate("document.documentElement.dataset.painter") == ("card" if card else "pixels")
        yield page


def settle(page: Any) -> None:
    """Wait until nothing moves any more and all is drawn."""
    page.evaluate(
        """async () => {
          const next = () => new Promise((done) => requestAnimationFrame(done));
          let before = "";
          for (let same = 0; same < 2;) {
            await next();
            const now = [...document.querySelectorAll(".points")].map((canvas) => canvas.toDataURL()).join();
            same = now === before ? same + 1 : 0;
            before = now;
          }
        }"""
    )


def place(page: Any, points: MapPoints, row: int, *, plot: int = 0) -> tuple[float, float]:
    """Where on the screen a paper is while the whole map is seen."""
    box = page.locator(".plot").nth(plot).bounding_box()
    width, height = box["width"] - 2, box["height"] - 2
    scale = 0.92 * min(width, height) / 2
    x, y = points.xy[row].tolist()
    return box["x"] + 1 + width / 2 + x * scale, box["y"] + 1 + height / 2 - y * scale


def colour_at(page: Any, at: tuple[float, float], *, plot: int = 0) -> list[int]:
    """Of the canvas, mixed with its ground; the mean of a few pixels around."""
    found: list[int] = page.evaluate(
        """([x, y, plot]) => {
          const canvas = document.querySelectorAll(".points")[plot];
          const box = canvas.getBoundingClientRect();
          const copy = document.createElement("canvas");
          [copy.width, copy.height] = [canvas.width, canvas.height];
          const context = copy.getContext("2d");
          [context.fillStyle, context.globalAlpha] = ["white", 1];
          context.fillRect(0, 0, copy.width, copy.height);
          context.drawImage(canvas, 0, 0);
          return [...context.getImageData(Math.round(x - box.left), Math.round(y - box.top), 1, 1).data].slice(0, 3);
        }""",
        [*at, plot],
    )
    return found


def rings(page: Any, kind: str) -> list[tuple[float, float] | None]:
    """The middle of the ring in each map, None where there is none, once the next picture is drawn."""
    settle(page)
    found = []
    for ring in page.locator(f".ring.{kind}").all():
        box = ring.bounding_box() if ring.is_visible() else None
        found.append(box and (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    return found


def labels(page: Any) -> set[str]:
    return set(page.locator(".labels > .seen").all_text_contents())
