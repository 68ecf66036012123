"""finetune and merge on the command line: output, exit codes, and one line for whatever cannot be done."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import corpora
import pytest
import torch
from running import Done, run
from tiny_language_models import make_language_model
from tiny_trainings import papers

from embedsearch.cli.finetune import command
from embedsearch.cli.training_options import OWN, SHARED
from embedsearch.training import watching
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.contrastive.options import ContrastiveOptions

TINY = ("--context", "32", "--token-budget", "128", "--epochs", "2", "--learning-rate", "0.005", "--dtype", "float32")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a tiny model, and an adapter that was trained on it."""
    folder = tmp_path_factory.mktemp("home")
    made = [{"id": paper.id, "title": paper.title, "abstract": paper.abstract} for paper in papers()]
    corpora.write(folder / "papers.jsonl", made)
    make_language_model(folder / "base")
    done = causal(folder, "--lora", "4", "--no-merge", "--out", "adapted")
    assert done.returncode == 0, done.stderr
    return folder


def causal(home: Path, *more: str, corpus: str = "papers.jsonl") -> Done:
    return run("finetune", corpus, "--objective", "causal", "--model", "base", *TINY, *more, cwd=home)


def fails(done: Done, *, code: int = 1) -> str:
    """What it says: one line, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


def test_a_training_and_what_it_prints(home: Path) -> None:
    done = causal(home)
    assert done.returncode == 0, done.stderr
    assert "Causal from base, to models/base-causal." in done.stderr
    assert "Next: embedsearch perplexity papers.jsonl --model models/base-causal" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["measure", "before", "after", "difference", "low", "high"]
    assert lines[1].startswith("perplexity ")
    assert any(line.split()[:2] == ["step", "epoch"] for line in lines)
    out = home / "models" / "base-causal"
    assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")

    again = causal(home, "--format", "json")
    assert again.returncode == 0
    assert "models/base-causal is complete. Nothing to do." in again.stderr
    assert json.loads(again.stdout) == json.loads((out / "training.json").read_text())

    rows = list(csv.DictReader(io.StringIO(causal(home, "--format", "csv").stdout)))
    assert [row["measure"] for row in rows] == ["perplexity", "bits per byte"]

    refused = fails(causal(home, "--seed", "1"))
    assert "found another: options seed 0 against 1; name another --out, or replace it with --overwrite" in refused


def test_what_it_would_take(home: Path) -> None:
    done = causal(home, "--dry-run", "--out", "dry")
    assert done.returncode == 0, done.stderr
    for words in ("48 papers, about", "tokens/s, measured in a few steps", "Memory:", "Disk:"):
        assert words in done.stdout
    assert not list(home.glob("*dry*"))


def test_an_adapter_is_merged(home: Path) -> None:
    done = run("merge", "adapted", "--out", "merged", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "merged: adapted in base" in done.stderr
    assert (home / "merged" / "model.safetensors").exists()
    assert "expected nothing at merged yet" in fails(run("merge", "adapted", "--out", "merged", cwd=home))
    assert "expected a folder with adapter_config.json" in fails(run("merge", "base", "--out", "m2", cwd=home))
    make_language_model(home / "other", seed=7)
    refused = fails(run("merge", "adapted", "--out", "m3", "--base", "other", cwd=home))
    assert "expected the adapter's base" in refused


def test_what_cannot_be_done_is_one_line(home: Path) -> None:
    corpora.write(home / "few.jsonl", [{"id": p.id, "title": "", "abstract": p.abstract} for p in papers(3)])
    assert "expected at least 8 papers to train on" in fails(causal(home, "--out", "x", corpus="few.jsonl"))
    (home / "thesis").mkdir()
    (home / "thesis" / "chapter.tex").write_text("x")
    assert "found one that no training made" in fails(causal(home, "--out", "thesis", "--overwrite"))
    encoder = run("finetune", "papers.jsonl", "--objective", "causal", "--model", "minilm", "--out", "x", cwd=home)
    assert "minilm, an encoder" in fails(encoder)
    assert "no such folder or file" in fails(
        run("finetune", "papers.jsonl", "--objective", "causal", "--model", "./nowhere", "--out", "x", cwd=home)
    )
    assert not list(home.glob("*x*"))


def test_without_the_libraries_that_train(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for objective in ("causal", "contrastive"):
        monkeypatch.setitem(sys.modules, f"embedsearch.training.{objective}.finetune", None)
        refused = fails(run("finetune", "papers.jsonl", "--objective", objective, cwd=home))
        assert "pip install 'embedsearch[train]'" in refused
        monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "expected peft for --lora, found none: pip install" in fails(causal(home, "--lora", "2", "--out", "x"))
    done = run("finetune", "papers.jsonl", "--model", "base", "--lora", "2", "--out", "x", cwd=home)
    assert "expected peft for --lora, found none: pip install" in fails(done)
    assert not list(home.glob("*x*"))


def test_an_option_of_the_other_objective(home: Path) -> None:
    done = causal(home, "--pairs", "both")
    assert "--pairs is for --objective contrastive, found causal." in fails(done, code=2)
    done = run("finetune", "papers.jsonl", "--context", "64", cwd=home)
    assert "--context is for --objective causal, found contrastive." in fails(done, code=2)


def test_an_interrupted_training_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = watching.Watcher.on_step_end

    def interrupted(self: watching.Watcher, args: object, state: object, control: object, **others: object) -> None:
        if state.global_step == 6:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        tell(self, args, state, control, **others)

    with monkeypatch.context() as patched:
        patched.setattr(watching.Watcher, "on_step_end", interrupted)
        done = causal(home, "--out", "stopped", "--checkpoint-minutes", "0")
    assert done.returncode == 130
    assert "the same command goes on from there" in done.stderr
    done = causal(home, "--out", "stopped", "--checkpoint-minutes", "0")
    assert done.returncode == 0, done.stderr
    assert "going on from step 5" in done.stderr


def test_every_option_has_its_place() -> None:
    """An option of the command is a field of its objective's options, which check it."""
    names = {parameter.name for parameter in command.params if isinstance(parameter, click.Option)}
    for options, own in ((CausalOptions, OWN["causal"]), (ContrastiveOptions, OWN["contrastive"])):
        fields = set(options.__dataclass_fields__) - {"model"}
        assert {*own, *SHARED} <= fields | {"template"}
        assert {*own, *SHARED} <= names
