"""Make the map page's drawing library again from its published packages, and compare it with the one in the package.

    python -m benchmarks.map_library            # says whether it is the same, exit code 1 if not
    python -m benchmarks.map_library --write    # takes it over

Needs npm (three packages and esbuild, from the registry), Chromium and playwright. The library's ground floor, regl,
writes its drawing programs as text and has the browser compile them, which a page's policy must then allow
('unsafe-eval') to all its scripts. So they are recorded here once, in a browser, and become part of the bundle: a table
from a hash of a program's text to the program. What is not in the table is an error, and the page draws without WebGL.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from embedsearch.map import MapPoints, Region
from embedsearch.render import map_page

BUNDLED = {"regl-scatterplot": "1.16.0", "regl": "2.1.1", "pub-sub-es": "3.0.0"}
INSIDE = {
    "@flekschas/utils": "0.33.0", "camera-2d-simple": "3.0.0", "dom-2d-camera": "2.2.6", "earcut": "3.0.2",
    "gl-matrix": "3.4.4", "kdbush": "4.0.2", "regl-line": "1.1.1", "simplify-js": "1.2.4",
}  # fmt: skip
"""What regl-scatterplot's published file has in it already: only their licences are taken."""
ESBUILD = "0.28.2"
ENTRY = """
export { default as createScatterplot, createRenderer } from "regl-scatterplot";
export { default as createRegl } from "regl";
"""
RECORDING = """
export const compiled = { apply(_, parts) {
  (window.programs ??= []).push(parts);
  return globalThis["Function"].apply(null, parts);
} };
"""
# cyrb53 (public domain): 53 bits of a text, without a promise to wait for.
LOOKING_UP = """
import { programs } from "./programs.mjs";
export function keyOf(text) {
  let a = 0xdeadbeef, b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 2654435761);
    b = Math.imul(b ^ c, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36);
}
export const compiled = { apply(_, parts) {
  const found = programs[keyOf(parts.join())];
  if (!found) throw new Error("a drawing program that was not compiled beforehand");
  return found;
} };
"""
VENDORED = Path(map_page.__file__).parent / "map" / "vendored"


def install(folder: Path) -> None:
    wanted = {"private": True, "dependencies": BUNDLED | INSIDE | {"esbuild": ESBUILD}}
    (folder / "package.json").write_text(json.dumps(wanted))
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "entry.mjs").write_text(ENTRY)


def bundle(folder: Path, compiled: str) -> str:
    """The packages as one script that sets `scatter`; regl asks `compiled` where it would ask `Function`."""
    (folder / "compiled.mjs").write_text(compiled)
    esbuild = next((folder / "node_modules/@esbuild").glob("*/bin/esbuild"))
    options = [
        "--bundle", "--minify", "--format=iife", "--global-name=scatter", "--target=es2020", "--charset=ascii",
        "--alias:regl=regl/dist/regl.unchecked.js", "--define:Function=compiled", "--inject:compiled.mjs",
        "--legal-comments=none", "--log-level=error",
    ]  # fmt: skip
    done = subprocess.run([str(esbuild), "entry.mjs", *options], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def two_maps() -> list[MapPoints]:
    rng = np.random.default_rng(0)
    n = 60
    common = {
        "name": "", "ids": tuple(f"2001.{i:05d}" for i in range(n)), "titles": ("A star",) * n, "authors": ("Li",) * n,
        "categories": ("astro-ph.GA",) * n, "years": np.full(n, 2020, np.int16), "density": np.zeros(n, np.float32),
        "region_of": np.zeros((2, n), np.int32), "caption": "", "seed": 0, "recipe": {},
        "regions": (Region(label="stars", terms=("stars",), xy=(0.0, 0.0), n=n),),
    }  # fmt: skip
    return [MapPoints(label=label, xy=rng.uniform(-1, 1, (n, 2)).astype(np.float32), **common) for label in "ab"]


def record(folder: Path, library: str) -> list[list[str]]:
    """Every program that the page has compiled, wherever one goes in it."""
    from playwright.sync_api import sync_playwright

    page_text = map_page.map_page(two_maps()).replace((VENDORED / "regl-scatterplot.js").read_text(), library)
    file = folder / "page.html"
    page_text = page_text.replace("SOFTWARE.test(nameOf(gl))", "false")  # draw so without a graphics card too
    file.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page_text))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=all]", state="attached")
        for by in ("year", "density", "category"):
            page.locator("#by").select_option(by)
        page.locator("#q").fill("star")
        page.keyboard.press("Enter")
        page.locator("#legend input").first.uncheck()
        page.wait_for_timeout(1000)
        found: list[list[str]] = page.evaluate("programs")
        browser.close()
    return found


def table(folder: Path, programs: list[list[str]]) -> str:
    """The programs as a module, by the hash of their text."""
    texts = {",".join(parts): parts for parts in programs}
    script = (
        "import { keyOf } from './key.mjs'; import fs from 'fs'; "
        "console.log(JSON.stringify(JSON.parse(fs.readFileSync('texts.json')).map(keyOf)))"
    )
    (folder / "key.mjs").write_text(
        LOOKING_UP.split("export const compiled")[0].replace('import { programs } from "./programs.mjs";', "")
    )
    (folder / "texts.json").write_text(json.dumps(list(texts)))
    (folder / "keys.mjs").write_text(script)
    keys = json.loads(subprocess.run(["node", "keys.mjs"], cwd=folder, check=True, capture_output=True).stdout)
    if len(set(keys)) != len(texts):
        raise SystemExit("two programs have the same key: take another hash")
    entries = [
        f"{key}: function({','.join(parts[:-1])}) {{\n{parts[-1]}\n}}"
        for key, parts in sorted(zip((f'"{key}"' for key in keys), texts.values(), strict=True))
    ]  # fmt: skip
    return "export const programs = {\n" + ",\n".join(entries) + "\n};\n"


def licences(folder: Path) -> str:
    parts = []
    for name in (*BUNDLED, *INSIDE):
        [file] = (folder / "node_modules" / name).glob("LICENSE*")
        title = f"{name} {BUNDLED[name]}" if name in BUNDLED else f"{name} (in regl-scatterplot)"
        parts.append(f"{title}\n\n{file.read_text().strip()}\n")
    return ("\n" + "-" * 80 + "\n\n").join(parts)


def make(folder: Path) -> dict[str, str]:
    install(folder)
    programs = record(folder, bundle(folder, RECORDING))
    (folder / "programs.mjs").write_text(table(folder, programs))
    library = bundle(folder, LOOKING_UP)
    print(f"{len(programs)} programs, {len(library):,} bytes", file=sys.stderr)
    return {"regl-scatterplot.js": library, "LICENSES.txt": licences(folder)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="replace the files in the package")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
    same = True
    for name, text in made.items():
        file = VENDORED / name
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        same &= file.exists() and file.read_text() == text
        print(f"{name}: {'as in the package' if file.exists() and file.read_text() == text else 'another'}, {digest}")
        if args.write:
            file.write_text(text)
    return 0 if same or args.write else 1


if __name__ == "__main__":
    sys.exit(main())
