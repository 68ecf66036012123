"""docs/deploy.md: what it tells to type runs, and each option that it names exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import click
import httpx
import pytest
from running import run
from serving import in_process

from embedsearch.cli.main import cli
from embedsearch.corpus import sample_path
from embedsearch.encoders import Encoder, ModelSpec, open_encoder
from embedsearch.server.options import Batching, Limits, ServeOptions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
BLOCK = re.compile(r"(<!-- needs .*? -->\n)?```bash\n(.*?)```", re.DOTALL)
BLOCKS = [text.splitlines() for needs, text in BLOCK.findall(PAGE) if not needs]
ALL_LINES = [line for _, text in BLOCK.findall(PAGE) for line in text.splitlines()]

PASSED_ON = ("keys_file", "public_read", "allowed_hosts", "limits", "batching")
"""What a server in this process is told of what the command line said."""


class Reader:
    """Types the lines of the page in a folder; the server of the last `serve` answers."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder = folder
        self.url = ""
        self._encoder = encoder
        self._server = ExitStack()

    def type(self, line: str) -> None:
        words = shlex.split(line)
        if words[:2] == ["pip", "install"]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert set(re.split(r"[\[\],]", words[2])[1:-1]) <= set(extras)
        elif words[:2] == ["embedsearch", "serve"]:
            self._serve(words[1:])
        elif words[0] == "embedsearch":
            done = run(*words[1:], cwd=self.folder)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
        else:
            line = line.replace("http://127.0.0.1:8000", self.url)
            subprocess.run(["bash", "-euc", line], cwd=self.folder, check=True, capture_output=True)

    def _serve(self, words: list[str]) -> None:
        with mock.patch("embedsearch.server.run.serve") as serve:
            done = run(*words, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        told: ServeOptions = serve.call_args.args[0]
        options = {name: getattr(told, name) for name in PASSED_ON}
        options["keys_file"] = self.folder / told.keys_file if told.keys_file else None
        self.stop()
        server = in_process(self.folder / told.index, encoder=self._encoder, poll_seconds=0.05, **options)
        self.url = self._server.enter_context(server)

    def stop(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Has a dozen papers."""
    folder = tmp_path_factory.mktemp("operator")
    papers = sample_path().read_text(encoding="utf-8").splitlines(keepends=True)[:12]
    (folder / "papers.jsonl").write_text("".join(papers), encoding="utf-8")
    who = Reader(folder, open_encoder(ModelSpec()))
    yield who
    who.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(reader: Reader, number: int) -> None:
    """In the order of the page."""
    for line in BLOCKS[number]:
        reader.type(line)
    assert httpx.get(f"{reader.url}/readyz", trust_env=False).status_code == 200


@pytest.mark.parametrize("line", [line for line in ALL_LINES if re.match(r"(/\S*/)?embedsearch ", line)])
def test_each_line_is_a_command_that_exists(line: str) -> None:
    parse(shlex.split(line)[1:])


def parse(words: list[str]) -> click.Context:
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    return command.make_context("embedsearch", words)


def test_each_option_exists() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", "".join(re.split(r"```.*?```", PAGE, flags=re.DOTALL))))
    serve = cli.get_command(click.Context(cli), "serve")
    assert serve is not None
    known = {option for parameter in serve.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert named - known == {"--role"} & named


@pytest.mark.parametrize("row", re.findall(r"^\|.*\| `--[a-z-]+` \|.*$", PAGE, re.MULTILINE))
def test_the_defaults_in_the_table_of_limits(row: str) -> None:
    _, default, option, _ = (cell.strip() for cell in row.strip("|").split("|"))
    (parameter,) = (p for p in parse(["serve"]).command.params if option.strip("`") in p.opts)
    first = default.replace(",", "").split(";")[0]
    assert parameter.default == (1 << 20 if first == "1 MiB" else float(first))


def test_the_defaults_of_the_command_are_those_of_the_library(tmp_path: Path) -> None:
    with mock.patch("embedsearch.server.run.serve") as serve:
        run("serve", cwd=tmp_path)
    told: ServeOptions = serve.call_args.args[0]
    assert told.limits == Limits()
    assert told.batching == Batching()


def test_each_file_that_it_leads_to_is_there() -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
