"""Every command of the README runs; those that need a hub, a key or a GPU are checked for their syntax."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from running import run
from serving import as_command

from embedsearch.cli.main import COMMANDS, cli
from embedsearch.corpus import sample_path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(?:<!-- needs (.*?) -->\n)?```(bash|python)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall(README)
LINES = [line for _, language, text in BLOCKS if language == "bash" for line in text.splitlines() if line]
COMMAND_LINES = [line for line in LINES if not line.startswith("curl ")]
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's reader has: a dozen papers, under both names, a few more, and some queries."""
    folder = tmp_path_factory.mktemp("reader")
    papers = "".join(sample_path().read_text(encoding="utf-8").splitlines(keepends=True)[:12])
    for name in ("papers.jsonl", "arxiv-metadata-oai-snapshot.json"):
        (folder / name).write_text(papers, encoding="utf-8")
    more = sample_path().read_text(encoding="utf-8").splitlines(keepends=True)[12:18]
    (folder / "more.jsonl").write_text("".join(more), encoding="utf-8")
    (folder / "queries.txt").write_text("dust\nspiral arms\n")
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """The address of the README's server, which is started when a block first needs it."""
    line = next(line for line in COMMAND_LINES if line.startswith("embedsearch serve"))
    arguments = shlex.split(line)[2:]
    index = home / arguments.pop(arguments.index("--index") + 1)
    arguments.remove("--index")
    with as_command(index, *arguments) as running:
        yield running.url


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(home: Path, number: int, request: pytest.FixtureRequest) -> None:
    """In the order of the README: later blocks use the indexes of earlier ones."""
    needs, language, text = BLOCKS[number]
    if needs not in ("", "the server"):
        return
    if ADDRESS in text:
        text = text.replace(ADDRESS, request.getfixturevalue("server"))
    if language == "python":
        with contextlib.chdir(home):
            exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
        return
    for line in filter(None, text.splitlines()):
        run_line(line, home)


def run_line(line: str, home: Path) -> None:
    if line.startswith("curl "):
        answer = subprocess.run([*shlex.split(line), "--fail-with-body"], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout
        assert json.loads(answer.stdout)
        return
    before, _, command = line.rpartition("|")
    stdin = (home / shlex.split(before)[1]).read_bytes() if before else b""  # cat FILE | embedsearch ...
    assert not before or before.startswith("cat ")
    command, _, written = command.partition(" > ")
    words = shlex.split(command)[1:]
    if words[0] == "serve":  # goes on until it is stopped: the fixture `server` runs it
        return
    done = run(*words, cwd=home, stdin=stdin, env={"EMBEDSEARCH_KEYS": str(home / "keys.json")})
    assert done.returncode == 0, done.stderr
    if written:
        (home / written).write_bytes(done.stdout if isinstance(done.stdout, bytes) else done.stdout.encode())


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_syntax(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
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
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    here = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", README):
        assert link in here or (ROOT / link).exists(), link


def test_the_weight_is_the_one_in_use() -> None:
    from embedsearch.search import HYBRID_WEIGHT

    assert f"{HYBRID_WEIGHT} cosine + {1 - HYBRID_WEIGHT:.1f} BM25" in README
