"""Every command of the README runs; those that need a hub or a GPU are checked for their syntax."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import click
import pytest
from running import run

from embedsearch.cli.main import COMMANDS, cli
from embedsearch.corpus import sample_path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(<!-- needs .*? -->\n)?```(bash|python)\n(.*?)```", re.DOTALL)
BLOCKS = [(bool(needs), language, text) for needs, language, text in BLOCK.findall(README)]
COMMAND_LINES = [line for _, language, text in BLOCKS if language == "bash" for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's reader has: a dozen papers, under both names, and some queries."""
    folder = tmp_path_factory.mktemp("reader")
    papers = "".join(sample_path().read_text(encoding="utf-8").splitlines(keepends=True)[:12])
    for name in ("papers.jsonl", "arxiv-metadata-oai-snapshot.json"):
        (folder / name).write_text(papers, encoding="utf-8")
    (folder / "queries.txt").write_text("dust\nspiral arms\n")
    return folder


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(home: Path, number: int) -> None:
    """In the order of the README: later blocks use the indexes of earlier ones."""
    needs, language, text = BLOCKS[number]
    if needs:
        return
    if language == "python":
        with contextlib.chdir(home):
            exec(compile(text, "README.md", "exec"), {})
        return
    for line in filter(None, text.splitlines()):
        before, _, command = line.rpartition("|")
        stdin = (home / shlex.split(before)[1]).read_bytes() if before else b""  # cat FILE | embedsearch ...
        assert not before or before.startswith("cat ")
        done = run(*shlex.split(command)[1:], cwd=home, stdin=stdin)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_syntax(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("|") + 1 :] if "|" in words else words
    assert words[0] == "embedsearch"
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    command.make_context(words[1], words[2:])


def test_every_command_is_in_the_readme() -> None:
    used = {line.split("embedsearch ")[1].split()[0] for line in COMMAND_LINES}
    assert used == set(COMMANDS)


def test_every_public_option_of_the_make_targets_exists() -> None:
    targets = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_weight_is_the_one_in_use() -> None:
    from embedsearch.search import HYBRID_WEIGHT

    assert f"{HYBRID_WEIGHT} cosine + {1 - HYBRID_WEIGHT:.1f} BM25" in README
