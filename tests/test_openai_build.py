"""Indexes made with a service: what is asked before, what is never paid for twice, and where the key is not."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from embedding_server import EmbeddingServer, expected, serving
from fake_encoder import FakeEncoder
from running import Done, run

from embedsearch.build import BuildOptions, Pending, build_index
from embedsearch.encoders import ModelSpec
from embedsearch.errors import BadVector, EncoderError, RecipeMismatch
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space

KEY = "sk-proj-0123456789abcdefghijklmnop"
N = 100


@dataclass(frozen=True)
class Home:
    """A folder with papers.jsonl, a server, and the command line there."""

    folder: Path
    server: EmbeddingServer

    def run(self, *arguments: str, stdin: bytes = b"") -> Done:
        return run(*arguments, cwd=self.folder, stdin=stdin)

    def build(self, *arguments: str, stdin: bytes = b"") -> Done:
        service = ["--model", "openai:fake", "--base-url", self.server.url]
        return self.run("build-index", "papers.jsonl", "--index", "i", *service, *arguments, stdin=stdin)

    def library(self, **more: object) -> None:
        spec = ModelSpec(name="openai:fake", base_url=self.server.url)
        options = BuildOptions(shard_rows=16)
        build_index(self.folder / "papers.jsonl", self.folder / "i", model=spec, options=options, **more)  # type: ignore[arg-type]

    def embedded(self) -> int:
        manifest = read_manifest(self.folder / "i")
        return (manifest.building or manifest.serving).n_embedded

    def texts(self) -> list[str]:
        return [json.loads(line)["abstract"] for line in (self.folder / "papers.jsonl").read_text().splitlines()]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    import openai._base_client as client

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(client, "MAX_RETRY_DELAY", 0.002)
    words = ["star", "gas", "dust", "wave", "planet"]
    papers = [
        {
            "id": f"2001.{10000 + i}",
            "title": f"Paper {i}",
            "abstract": " ".join(["number", str(i), *words[: i % 5] * 3, "seen"]),
        }
        for i in range(N)
    ]
    (tmp_path / "papers.jsonl").write_text("".join(json.dumps(paper) + "\n" for paper in papers))
    with serving() as server:
        yield Home(tmp_path, server)


def test_a_dry_run_says_what_there_is_and_leaves_nothing(home: Home) -> None:
    done = home.build("--dry-run")
    assert done.returncode == 0, done.stderr
    host = home.server.url.split("/")[2]
    n_tokens = sum(-(-len(text) * 2 // 9) for text in home.texts())
    assert done.stdout.splitlines() == [
        f"To send to {host} for fake: 100 papers, {n_tokens:,} tokens (estimated from their bytes).",
        "Price: not known here; it is the service's to say.",
        "Time: not known before the service answers.",
    ]
    assert "A dry run: nothing was sent or kept." in done.stderr
    assert not home.server.requests
    assert [path.name for path in home.folder.iterdir()] == ["papers.jsonl"]


def test_a_dry_run_needs_no_key_and_knows_prices(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    done = home.run("build-index", "papers.jsonl", "--model", "ada-002", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "To send to api.openai.com for text-embedding-ada-002: 100 papers" in done.stdout
    assert "Price: less than $0.01, at OpenAI's $0.10 for a million tokens, as of May 2026." in done.stdout
    assert "Time: less than a minute" in done.stdout
    done = home.run("build-index", "papers.jsonl", "--model", "ada-002", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("Error: expected a key for api.openai.com in OPENAI_API_KEY, found")


def test_a_dry_run_changes_no_index(home: Home) -> None:
    assert home.build("--yes").returncode == 0
    before = (home.folder / "i" / "manifest.json").read_bytes()
    n = len(home.server.requests)
    done = home.build("--dry-run", "--overwrite", "--ann", "exact", "--transform", "center")
    assert "100 papers" in done.stdout
    done = home.run("build-index", "--index", "i", "--dry-run", "--overwrite", "--model", "minilm")
    assert done.stdout.startswith("To embed here: 100 papers"), done.stderr
    assert (home.folder / "i" / "manifest.json").read_bytes() == before
    assert len(home.server.requests) == n
    assert "Nothing to do" in home.build("--dry-run").stderr


def test_without_a_terminal_yes_is_needed(home: Home) -> None:
    done = home.build()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("found no terminal to ask at: repeat it with --yes")
    assert not home.server.requests
    done = home.build("--yes")
    assert done.returncode == 0, done.stderr
    assert "To send to" in done.stderr
    assert home.server.asked == dict.fromkeys(home.texts(), 1) | {"dimension": 1}


def test_nothing_is_sent_before_the_yes_with_a_transform_either(home: Home) -> None:
    assert home.build("--transform", "truncate:9").returncode == 1
    assert not home.server.requests
    done = home.build("--yes")  # the dimension is known by now, and paid for nothing
    assert "expected a size of at most 8 in truncate:9 for vectors of 8 numbers" in done.stderr
    assert [body["input"] for body in home.server.requests] == [["dimension"]]
    assert home.build("--transform", "center", "--yes").returncode == 0


def test_on_a_terminal_it_is_asked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedsearch.cli.cost._is_terminal", lambda: True)
    done = home.build(stdin=b"n\n")
    assert done.returncode == 0
    assert "Send them? [y/N]" in done.stderr
    assert done.stderr.endswith("Nothing was sent. The papers are kept: the same command asks again.\n")
    assert not home.server.requests
    assert home.build(stdin=b"y\n").returncode == 0
    assert home.embedded() == N


def test_a_store_is_searched_with_its_service(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.build("--yes").returncode == 0
    home.server.requests.clear()
    done = home.run("query", "--index", "i", "--mode", "dense", "--format", "json", "-k", "1", "planet planet planet")
    assert done.returncode == 0, done.stderr
    [request] = home.server.requests
    assert request["input"] == ["planet planet planet"]
    space = Space.open(home.folder / "i")
    np.testing.assert_allclose(space.vectors, expected(home.texts()), atol=1e-3)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    done = home.run("query", "--index", "i", "star")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: expected an answer from http://127.0.0.1:1/v1, found none (ConnectError)")


@pytest.mark.parametrize("misdeed", ["401", "500", "cut", "no json", "short", "nan"])
def test_nothing_is_lost_or_paid_twice_when_it_fails(home: Home, misdeed: str) -> None:
    home.server.misbehave = lambda n, texts: misdeed if any("number 50 " in text for text in texts) else None
    with pytest.raises(EncoderError) as caught:
        home.library()
    if isinstance(caught.value, BadVector):
        assert str(caught.value).startswith("paper 2001.10049: ")  # the second of its request
    assert home.embedded() == 48
    before = dict(home.server.asked)
    home.server.misbehave = lambda n, texts: None
    home.library()
    assert home.embedded() == N
    assert [home.server.asked[text] - before[text] for text in home.texts()[:48]] == [0] * 48
    np.testing.assert_allclose(Space.open(home.folder / "i").vectors, expected(home.texts()), atol=1e-3)


CHILD = """
import sys
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import ModelSpec
spec = ModelSpec(name="openai:fake", base_url=sys.argv[1])
build_index("papers.jsonl", "i", model=spec, options=BuildOptions(shard_rows=16))
"""


def test_a_killed_build_pays_no_finished_shard_twice(home: Home) -> None:
    """SIGKILL while a request is being answered, three times; then to the end."""
    committed = 0
    for kill_at in (0, 2, 3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, home.server.url], cwd=home.folder, env=os.environ)
        seen = len(home.server.requests)

        def kill(n: int, texts: list[str], child=child, at=seen + kill_at) -> None:  # type: ignore[no-untyped-def]
            if n == at:
                child.send_signal(signal.SIGKILL)
                child.wait()

        home.server.misbehave = kill
        assert child.wait(timeout=60) == -signal.SIGKILL
        committed = home.embedded()
    assert 0 < committed < N
    before = dict(home.server.asked)
    home.server.misbehave = lambda n, texts: None
    asked: list[tuple[int, int]] = []
    home.library(before_embedding=lambda pending: asked.append((pending.n_papers, pending.count_tokens()[0])))
    left = home.texts()[committed:]
    assert asked == [(N - committed, sum(-(-len(text) * 2 // 9) for text in left))]  # only what is left has a price
    assert [home.server.asked[text] - before.get(text, 0) for text in home.texts()] == [0] * committed + [1] * len(left)


def test_another_model_under_the_same_name_is_refused_by_its_dimension(home: Home) -> None:
    home.server.misbehave = lambda n, texts: "500" if any("number 50 " in text for text in texts) else None
    with pytest.raises(EncoderError):
        home.library()
    home.server.misbehave = lambda n, texts: None
    home.server.dim = 12
    with pytest.raises(RecipeMismatch, match=r"expected vectors of 8 numbers.*found that the model makes 12"):
        home.library()


def test_the_key_is_nowhere(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever was written or said, with everything logged, when it works and when it does not."""
    for name in ["", *logging.root.manager.loggerDict]:
        caplog.set_level(logging.DEBUG, logger=name)
    said = [home.build("--yes", "-v"), home.run("info", "--index", "i"), home.run("query", "--index", "i", "-v", "gas")]
    for misdeed in ("401", "500", "404", "cut"):
        home.server.misbehave = lambda n, texts, misdeed=misdeed: misdeed  # type: ignore[misc]
        said += [home.build("--yes", "-v", "--overwrite"), home.run("query", "--index", "i", "-v", "star")]
    assert [done.returncode for done in said] == [0] * 3 + [1] * 8
    for path in home.folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    text = caplog.text + "".join(done.stdout + done.stderr for done in said)
    assert KEY not in text
    assert KEY[-4:] not in "".join(done.stderr for done in said)  # nor a part, which the service repeats
    assert f"Bearer {KEY}" in home.server.keys  # it was there to be found


def test_tokens_of_many_papers_are_told_from_some(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[tuple[int, bool]] = []
    monkeypatch.setattr("embedsearch.stages.pending.MOST_COUNTED", 30)

    def count(pending: Pending) -> None:
        counts.append(pending.count_tokens())

    build_index(home.folder / "papers.jsonl", home.folder / "i", encoder=FakeEncoder(), before_embedding=count)
    [(n_tokens, all_counted)] = counts
    assert not all_counted
    assert n_tokens == pytest.approx(sum(len(text.split()) for text in home.texts()), rel=0.1)


def test_a_stored_address_is_named_again_before_more_is_changed(home: Home) -> None:
    """Else the key would go to a server that whoever made the index has chosen."""
    home.build()
    done = home.run("build-index", "--index", "i", "--max-tokens", "9", "--overwrite", "--yes")
    assert done.returncode == 2
    assert f"made with the service at {home.server.url}: name it again, with --model and --base-url" in " ".join(
        done.stderr.split()
    )
    done = home.run("build-index", "--index", "i", "--yes")
    assert done.returncode == 0, done.stderr
    assert set(home.server.keys) == {"Bearer none"}


def test_papers_are_added_with_its_service(home: Home) -> None:
    home.library()
    paper = {"id": "2301.00001", "title": "New", "abstract": "a new star seen"}
    (home.folder / "new.jsonl").write_text(json.dumps(paper) + "\n")
    n_sent = len(home.server.requests)
    unasked = home.run("add", "new.jsonl", "--index", "i")
    assert unasked.returncode == 1
    assert "repeat it with --yes" in unasked.stderr
    assert len(home.server.requests) == n_sent
    done = home.run("add", "new.jsonl", "--index", "i", "--yes")
    assert done.returncode == 0, done.stderr
    assert "To send to" in done.stderr
    assert home.server.keys[-1] == "Bearer none"  # the index alone names the address
    (home.folder / "new.jsonl").write_text(json.dumps(paper | {"abstract": "no star"}) + "\n")
    done = home.run("add", "new.jsonl", "--index", "i", "--base-url", home.server.url, "--yes")
    assert done.returncode == 0, done.stderr
    assert home.server.keys[-1] == f"Bearer {KEY}"
    assert home.run("add", "new.jsonl", "--index", "no", "--base-url", home.server.url).returncode == 1
    assert read_manifest(home.folder / "i").serving.n_papers == N + 1
    assert Space.open(home.folder / "i").ids[-1] == "2301.00001"


def test_models_lists_it(home: Home) -> None:
    assert "ada-002" in home.run("models", "--format", "table").stdout
    [listed] = [model for model in json.loads(home.run("models", "--format", "json").stdout) if not model["hub_id"]]
    assert (listed["name"], listed["dim"], listed["pooling"]) == ("ada-002", 1536, "service")
