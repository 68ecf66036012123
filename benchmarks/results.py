"""Results as a JSON file of this machine, as a Markdown table, and between two markers of the README."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import environments, machine
from benchmarks.suite import Stage

FOLDER = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by `python -m benchmarks readme` -->", "<!-- end of what it makes -->"
TITLES = {
    "embed": "Embedding (minilm, at most 512 tokens)",
    "search": "One query after another",
    "pairs": "All pairs of two spaces of made vectors (384-d, 1536-d)",
    "serve": "Queries over HTTP, 64 connections",
    "build": "A whole build-index",
}
Results = dict[str, Any]


def read(path: Path) -> Results:
    """The results that `path` holds, or an empty set."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"format": 1, "stages": {}}


def add(path: Path, stage: Stage, about: dict[str, Any], *, n_papers: int, is_real: bool) -> Results:
    """Put a stage into the file at `path`, in place of what it had of it; returns all that the file holds now."""
    results = read(path)
    results["machine"] = about
    results["stages"][stage.name] = machine.provenance() | {
        "peers": environments.versions(),
        "n_papers": n_papers,
        "corpus": "real abstracts" if is_real else "the bundled sample",
        "figures": stage.figures(),
        "notes": stage.notes,
        "profile": stage.profile,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    return results


def markdown(results: Results) -> str:
    """The tables of all stages, with what measured them."""
    lines = [machine_line(results), ""]
    for name in (name for name in TITLES if name in results["stages"]):
        lines += _stage(name, results["stages"][name])
    return "\n".join(lines)


def machine_line(results: Results) -> str:
    """The processor, and the rates that the floors are made of."""
    about = results["machine"]
    rates = ", ".join(f"{dtype} {rate:,.0f}" for dtype, rate in about["matrix_gflops"].items())
    return (
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']:.0f} GB. Measured rates: matrix products of"
        f" minilm's shapes {rates} GFLOP/s, reading memory {about['read_gb_per_s']:.1f} GB/s."
    )


def _stage(name: str, stage: dict[str, Any]) -> Iterable[str]:
    what = f"{stage['n_papers']:,} papers ({stage['corpus']})"
    made_with = {"Python": stage["python"]} | stage["versions"] | stage["peers"]
    yield f"**{TITLES[name]}**, {what}; commit {stage['commit']}, {stage['date']}"
    yield ""
    yield ", ".join(f"{library} {version}" for library, version in made_with.items())
    yield ""
    yield "| | median | times as good as the best peer | share of the floor |"
    yield "|---|---|---|---|"
    for row in stage["figures"]:
        what = row["name"] if row["ours"] else f"*{row['name']}*"
        if "failed" in row:
            yield f"| {what} | not measured: {row['failed'].replace('|', '/')} | | |"
            continue
        ratio = f"{number(row['ratio'])} × {row['peer']}" if "ratio" in row else ""
        floor = f"{row['share_of_floor']:.0%} of {number(row['floor'])} ({row['floor_is']})" if "floor" in row else ""
        yield f"| {what} | {number(row['median'])} {row['unit']} | {ratio} | {floor} |"
    yield ""
    for note in stage["notes"]:
        yield f"{note}\n"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def summary(results: Results, link: str) -> str:
    """This project's figures, each beside its best peer's and as a share of the floor; `link` leads to the rest."""
    stages = {name: results["stages"][name] for name in TITLES if name in results["stages"]}
    commits = ", ".join(dict.fromkeys(f"{stage['commit']} ({stage['date']})" for stage in stages.values()))
    lines = [
        f"{machine_line(results)} Commit {commits}; [every setting, its rounds' median, versions and floors]({link}).",
        "",
        "| | | times as good as the best peer | share of the floor |",
        "|---|---|---|---|",
    ]
    for name, stage in stages.items():
        lines.append(f"| **{TITLES[name]}** | | `python -m benchmarks {name}` | |")
        lines += [_summed_up(row, stage["figures"]) for row in stage["figures"] if row["ours"] and "median" in row]
    return "\n".join(lines)


def _summed_up(row: dict[str, Any], figures: list[dict[str, Any]]) -> str:
    """A figure of this project as a row of the README."""
    ratio = floor = ""
    if "ratio" in row:
        peer = next(other for other in figures if other["name"] == row["peer"])
        ratio = f"{number(row['ratio'])} × {peer['name']} ({number(peer['median'])} {peer['unit']})"
    if "floor" in row:
        floor = f"{row['share_of_floor']:.0%}"
    return f"| {row['name']} | {number(row['median'])} {row['unit']} | {ratio} | {floor} |"


def readme_block(folder: Path = FOLDER) -> str:
    """What stands between the README's markers: a table for each machine whose results are in `folder`."""
    paths = sorted(folder.glob("*.json"))
    found = [summary(read(path), f"benchmarks/results/{path.stem}.md") for path in paths]
    return "\n\n".join([BEGIN, *found, END])


def write_readme(path: Path = README, folder: Path = FOLDER) -> None:
    """Put the tables between the markers. Raises ValueError where the file has no markers."""
    text = path.read_text(encoding="utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"expected {BEGIN} and {END} in {path}, found no such pair; put them where the table belongs")
    path.write_text(text[:begin] + readme_block(folder) + text[end + len(END) :], encoding="utf-8")
