"""How large the map's file is, how soon it opens, and how fluid it is, for invented maps of several sizes.

    python -m benchmarks.map_page [--papers 10000 300000] [--seconds 4] [--format table|json]

Chromium without a window and without a graphics card: WebGL is computed on the processor (SwiftShader), so that its
figures are a lower bound of what a card does. Frames are counted while the map is moved or zoomed in each frame:
`webgl` is the library, which the page uses where there is a card (here it is made to), `canvas` what it draws with
where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from embedsearch.map import MapPoints, Region
from embedsearch.render.map_page import write_map

WORDS = """
accretion active around binary black bright clusters cold cosmic dark density disc distant dust early emission energy
evolution faint field galaxies gas halo hole hot hydrogen infrared ionised lensing lines low luminous magnetic mass
massive matter mergers metallicity model molecular nearby neutron neutrino new observations of planets plasma population
pulsar quasar radio rates ray redshift rotation scale shock spectra star stellar structure supernova survey the transit
turbulent variable velocity wave weak wind young
"""
WEBGL = """(() => {
  const real = WebGLRenderingContext.prototype.getParameter;
  WebGLRenderingContext.prototype.getParameter = function (name) {
    const isName = name === this.RENDERER || name === 37446;  // UNMASKED_RENDERER_WEBGL
    return isName ? "a card" : real.call(this, name);
  };
})()"""
FRAMES = """async ([seconds, how]) => {
  const plot = document.querySelector(".plot");
  const box = plot.getBoundingClientRect();
  const at = { clientX: box.left + box.width * 0.45, clientY: box.top + box.height * 0.5 };
  const times = [];
  const began = performance.now();
  let before = began;
  for (let i = 0; before - began < seconds * 1000; i++) {
    const deltaY = i % 60 < 30 ? -60 : 60;
    if (how === "zoom") plot.dispatchEvent(new WheelEvent("wheel", { ...at, cancelable: true, deltaY }));
    else plot.dispatchEvent(new KeyboardEvent("keydown", { key: i % 16 < 8 ? "ArrowLeft" : "ArrowRight" }));
    const now = await new Promise((done) => requestAnimationFrame(() => done(performance.now())));
    times.push(now - before);
    before = now;
  }
  return times;
}"""
SEARCH = """async (text) => {
  const box = document.getElementById("q");
  const seen = new Promise((done) => {
    const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now()); });
    watch.observe(document.getElementById("count"), { childList: true });
  });
  const began = performance.now();
  box.value = text;
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  return (await seen) - began;
}"""


def invented(n: int) -> MapPoints:
    """A map of n papers in 60 heaps of several widths, with titles and authors of the usual lengths."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 2))
    heap = rng.integers(60, size=n)
    xy = centres[heap] + rng.normal(size=(n, 2)) * rng.uniform(0.03, 0.3, (60, 1))[heap]
    xy -= (xy.max(0) + xy.min(0)) / 2
    xy /= np.abs(xy).max()
    places = [tuple(float(value) for value in xy[heap == i].mean(0)) for i in range(60)]
    counts = np.bincount(heap, minlength=60)
    regions = [
        Region(
            label=" ".join(rng.choice(WORDS.split(), 2)), terms=("a",), xy=(x, y), n=int(counts[i]), level=int(i >= 12)
        )
        for i, (x, y) in enumerate(places)
    ]
    cells = np.clip(((xy + 1) * 64).astype(int), 0, 127)
    crowd = np.bincount(cells[:, 0] * 128 + cells[:, 1], minlength=128 * 128)[cells[:, 0] * 128 + cells[:, 1]]
    words = rng.choice(WORDS.split(), (n, 12))
    lengths = rng.integers(5, 13, n)
    return MapPoints(
        name="invented",
        label="minilm",
        ids=tuple(f"{1000 + i // 90_000:04d}.{i % 90_000:05d}" for i in range(n)),
        xy=xy.astype(np.float32),
        titles=tuple(" ".join(row[:length]) for row, length in zip(words, lengths, strict=True)),
        authors=tuple(f"{word.capitalize()} et al." for word in words[:, 0]),
        categories=tuple(f"astro-ph.{'GCHSEI'[i % 6]}" for i in heap),
        years=rng.integers(1992, 2026, n).astype(np.int16),
        density=(crowd.argsort().argsort() / max(n - 1, 1)).astype(np.float32),
        region_of=np.stack([heap, heap]).astype(np.int32),
        regions=tuple(regions),
        caption="Invented.",
        seed=0,
        recipe={},
    )


def measure(browser: Any, file: Path, painter: str, seconds: float) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    if painter == "webgl":
        page.add_init_script(WEBGL)
    began = time.perf_counter()
    page.goto(file.as_uri())
    found = {}
    for name in ("points", "all"):
        page.wait_for_selector(f"html[data-ready={name}], html[data-ready=all]", state="attached", timeout=120_000)
        found[f"{name}_s"] = time.perf_counter() - began
    for how in ("move", "zoom"):
        page.locator("[data-zoom=all]").first.click()
        page.wait_for_timeout(500)
        times = np.array(page.evaluate(FRAMES, [seconds, how])[2:])
        found[f"{how}_fps"] = 1000 / float(times.mean())
        found[f"{how}_slow_ms"] = float(np.quantile(times, 0.95))
    found["first_search_ms"] = page.evaluate(SEARCH, "dark matter")
    found["search_ms"] = page.evaluate(SEARCH, "galaxies dust")
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--papers", type=int, nargs="+", default=[10_000, 300_000])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for n in args.papers:
            file = Path(folder) / f"{n}.html"
            points = invented(n)
            began = time.perf_counter()
            write_map(file, [points])
            wrote = time.perf_counter() - began
            for painter in ("webgl", "canvas"):
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                figures = measure(browser, file, painter, args.seconds)
                browser.close()
                rows.append(
                    {"papers": n, "painter": painter, "MB": file.stat().st_size / 1e6, "write_s": wrote} | figures
                )
    if args.format == "json":
        print(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1))
        return
    print(*rows[0], sep="\t")
    for row in rows:
        print(*(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()), sep="\t")


if __name__ == "__main__":
    sys.exit(main())
