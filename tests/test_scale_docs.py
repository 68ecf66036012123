"""docs/scale.md: its commands run, and its table is what the arithmetic prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import corpora
import pytest
from click.testing import CliRunner
from fake_encoder import FakeEncoder

from benchmarks import arithmetic
from embedsearch.cli.main import cli
from embedsearch.store.manifest import read_manifest

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
COMMANDS = [line for line in PAGE.splitlines() if re.match(r"(srun )?embedsearch ", line)]


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that counts words, and a corpus, where the page is typed."""

    def open_encoder(*arguments: object, **more: object) -> FakeEncoder:
        encoder = FakeEncoder()
        encoder.spec = arguments[0]  # type: ignore[attr-defined]
        return encoder

    monkeypatch.setattr("embedsearch.build.open_encoder", open_encoder)
    monkeypatch.setattr("embedsearch.share.open_encoder", open_encoder)
    monkeypatch.chdir(tmp_path)
    corpora.write(tmp_path / "papers.jsonl", corpora.records(30))


def test_the_table_is_what_the_arithmetic_prints() -> None:
    assert f"\n{arithmetic.table()}\n" in PAGE


def typed(command: str, **variables: str) -> Any:
    for name, value in variables.items():
        command = command.replace(name, value)
    return CliRunner().invoke(cli, shlex.split(command.removeprefix("srun "))[1:], catch_exceptions=False)


def test_the_array_job_makes_an_index() -> None:
    work, collect = (command for command in COMMANDS if command.startswith("srun "))
    for task in ("2", "1", *map(str, range(3, 17))):
        done = typed(work, **{"$SLURM_ARRAY_TASK_ID": task})
        assert done.exit_code == 0, done.output
    assert not read_manifest(Path("indexes/astro")).serving.complete
    assert typed(collect).exit_code == 0
    assert read_manifest(Path("indexes/astro")).serving.complete


def test_shards_in_storage_are_collected() -> None:
    work, collect = (command for command in COMMANDS if "--drop" in command)
    for command in (work.replace("3/16", "1/1"), collect):
        done = typed(command, **{"s3://": "memory://"})
        assert done.exit_code == 0, done.output
    assert read_manifest(Path("indexes/astro")).serving.complete


@pytest.mark.parametrize("option", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))))
def test_each_option_is_one(option: str) -> None:
    others = {"--array", "--gres", "--cpus-per-task", "--time", "--output", "--parsable", "--dependency"}  # of SLURM
    known = {name for command in ("build-index", "similarity-plot", "serve") for name in options(command)}
    assert option in known | others


def options(command: str) -> list[str]:
    found = cli.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    return [name for parameter in found.params for name in parameter.opts]
