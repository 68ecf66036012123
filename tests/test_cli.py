"""The command line: output, exit codes, and one clear line for whatever cannot be done."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.build import BuildOptions, build_index

ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "100"}


def fails(*arguments: str | Path, cwd: Path, stdin: bytes = b"", code: int = 1) -> str:
    """Run what must fail: one line on stderr, nothing on stdout, no traceback."""
    done = run(*arguments, cwd=cwd, stdin=stdin)
    text = done.stderr
    assert done.returncode == code, text
    assert "Traceback" not in text
    if code == 1:
        lines = [line for line in text.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, text
        assert text.rstrip().splitlines()[-1] == lines[0]
        return lines[0]
    return text


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the index of the bundled sample, made as a newcomer makes it: with the real model."""
    folder = tmp_path_factory.mktemp("home")
    done = run("build-index", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "taking the bundled sample, 120 invented papers" in done.stderr
    return folder


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of the fake encoder, for keyword queries."""
    folder = tmp_path_factory.mktemp("fake")
    corpora.write(folder / "papers.jsonl", corpora.records(50))
    build_index(folder / "papers.jsonl", folder / "i", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    return folder


def test_the_front_page(home: Path) -> None:
    done = run("query", "magnetized plasma", cwd=home)
    assert done.returncode == 0
    assert done.stdout.startswith("magnetized plasma")
    assert "https://arxiv.org/abs/" in done.stdout
    plot = run("similarity-plot", cwd=home)
    assert plot.returncode == 0
    assert plot.stdout.startswith("space ")
    assert "figures/similarity.png: 7,140 pairs of 120 papers" in plot.stderr
    assert (home / "figures" / "similarity.png").read_bytes().startswith(b"\x89PNG")


def test_meaning_is_found_without_its_words(home: Path) -> None:
    from embedsearch.corpus import sample_queries

    queries = sample_queries()
    lines = "\n".join(query.query for query in queries).encode()
    done = run("query", "-", "-k", "5", "--mode", "dense", cwd=home, stdin=lines)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["query"] for result in results] == [query.query for query in queries]
    n_found = sum(
        any(hit["id"] in query.relevant for hit in result["hits"])
        for query, result in zip(queries, results, strict=True)
    )
    assert n_found >= 0.8 * len(queries)


def test_formats(fake: Path) -> None:
    words = ("query", "star", "gas", "--index", "i", "--mode", "keyword", "-k", "2")
    tables = run(*words, cwd=fake).stdout
    assert tables.index("star") < tables.index("gas")
    several = json.loads(run(*words, "--format", "json", cwd=fake).stdout)
    assert [result["query"] for result in several] == ["star", "gas"]
    one = json.loads(run("query", "star", "--index", "i", "--mode", "keyword", "--format", "json", cwd=fake).stdout)
    assert one["mode"] == "keyword"
    assert run(*words, "--format", "csv", cwd=fake).stdout.startswith("query,rank,id,score,cosine,title")
    assert run(*words, "--format", "bibtex", cwd=fake).stdout.count("@misc{") >= 2


def test_a_file_of_queries(fake: Path) -> None:
    (fake / "queries.txt").write_text("star\n\ngas\n")
    done = run("query", "queries.txt", "--index", "i", "--mode", "keyword", "--format", "csv", cwd=fake)
    assert {line.split(",")[0] for line in done.stdout.splitlines()[1:]} == {"star", "gas"}


def test_filters_and_sort(fake: Path) -> None:
    done = run(
        "query", "star", "--index", "i", "--mode", "keyword", "--category", "astro-ph.*", "--since", "2020-03",
        "--author", "Writer1", "--sort", "date", "--format", "json", cwd=fake,
    )  # fmt: skip
    hits = json.loads(done.stdout)["hits"]
    assert hits
    assert all(hit["categories"] == ["astro-ph.CO"] and hit["published"] >= "2020-03" for hit in hits)


def test_like(fake: Path) -> None:
    id = corpora.records(1)[0]["id"]
    done = run("query", "--like", id, "--index", "i", "--format", "json", cwd=fake)
    assert id not in [hit["id"] for hit in json.loads(done.stdout)["hits"]]


def test_info_verify_models(fake: Path) -> None:
    info = json.loads(run("info", "--index", "i", "--format", "json", cwd=fake).stdout)
    assert (info["n_papers"], info["complete"], info["ann"]["kind"]) == (50, True, "flat")
    assert "complete" in run("info", "--index", "i", cwd=fake).stdout
    assert run("verify", "--index", "i", cwd=fake).stdout.startswith("i is whole: 50 papers, 50 vectors")
    models = json.loads(run("models", "--format", "json", cwd=fake).stdout)
    assert {model["name"]: model["dim"] for model in models} == {
        "minilm": 384,
        "smollm2": 576,
        "astrollama": 4096,
        "ada-002": 1536,
    }
    assert "minilm" in run("models", cwd=fake).stdout


def test_options_from_the_environment(fake: Path) -> None:
    env = {"EMBEDSEARCH_INDEX": "i", "EMBEDSEARCH_MODE": "keyword", "EMBEDSEARCH_QUERY_K": "3"}
    done = run("query", "star", "--format", "json", cwd=fake, env=env)
    assert len(json.loads(done.stdout)["hits"]) == 3


RECORD = json.dumps(corpora.records(1)[0])
BAD_CORPORA = {
    "missing": (None, "nowhere.jsonl"),
    "empty": (b"", "expected papers, found an empty file"),
    "truncated": (f"{RECORD}\n{RECORD[:40]}".encode(), "line 2"),
    "not an object": (f"{RECORD}\n[1, 2]\n".encode(), "line 2: expected a JSON object, found"),
    "wrong type": (f"{RECORD}\n{json.dumps({'id': '2001.00001', 'abstract': [1]})}\n".encode(), "line 2"),
    "binary": (bytes(range(256)) * 20, "expected text in UTF-8, found binary data"),
    "gzip that is none": (b"\x1f\x8b" + b"x" * 50, "bad.jsonl"),
    "no abstract": (b'{"id": "2001.00001", "title": "t"}\n', "abstract"),
}


@pytest.mark.parametrize("name", list(BAD_CORPORA))
def test_a_bad_corpus_is_one_line_and_leaves_no_index(tmp_path: Path, name: str) -> None:
    data, expected = BAD_CORPORA[name]
    path = tmp_path / ("nowhere.jsonl" if data is None else "bad.jsonl")
    if data is not None:
        path.write_bytes(data)
    assert expected in fails("build-index", path, "--index", tmp_path / "i", cwd=tmp_path)
    assert not (tmp_path / "i" / "manifest.json").exists()
    assert not [file for file in (tmp_path / "i").rglob("*") if file.name != ".lock"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("query", "x", "--index", "nowhere"), "expected an index at nowhere, found none; make one with"),
        (("query", "", "--index", "i"), "found an empty query"),
        (("query", "\x1b\x07", "--index", "i"), "found an empty query"),
        (("query", "x", "--index", "i", "-k", "0"), "expected k of at least 1, found 0"),
        (("query", "x", "--index", "i", "--since", "soon"), "soon"),
        (("query", "--like", "9999.99999", "--index", "i"), "expected the id of one of the 50 papers"),
        (("query", "-", "--index", "i"), "expected a query a line in standard input, found none"),
        (("info", "--index", "nowhere"), "expected an index at nowhere"),
        (("verify", "--index", "nowhere"), "expected an index at nowhere"),
        (("similarity-plot", "--index", "nowhere"), "expected an index at nowhere"),
        (("similarity-plot", "--index", "i", "--sample", "51"), "expected a sample of at most 50 papers, all"),
        (("similarity-plot", "--index", "i", "--out", "x.gif"), "expected a figure named"),
        (("similarity-plot", "--index", "i", "--out", "/proc/x.png"), "expected to write /proc/x.png"),
        (("build-index", "papers.jsonl", "--index", "j", "--model", "minlm"), "minilm"),
        (("build-index", "papers.jsonl", "--index", "j", "--template", "{titel}"), "titel"),
        (("build-index", "papers.jsonl", "--index", "j", "--transform", "bleach"), "expected a transform"),
        (("build-index", "papers.jsonl", "--index", "j", "--field", "abstrakt=x"), "abstrakt"),
        (("build-index", "papers.jsonl", "--index", "papers.jsonl"), "papers.jsonl"),
        (("build-index", "papers.jsonl", "--index", "j", "--device", "cuda:9"), "cuda"),
    ],
)
def test_what_cannot_be_done_is_one_line(fake: Path, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in fails(*arguments, cwd=fake)
    assert not (fake / "j" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("qurey", "x"), "No command 'qurey': did you mean query?"),
        (("query",), "Expected a query, or --like ID, and not both."),
        (("query", "x", "--like", "y"), "not both"),
        (("query", "x", "-"), "Expected - alone"),
        (("query", "x", "--mode", "fuzzy"), "fuzzy"),
        (("build-index", "--limit", "0"), "0"),
        (("build-index", "--field", "abstract"), "expected OURS=THEIRS, found 'abstract'"),
        (("similarity-plot", "--sample", "1"), "1"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(fake: Path, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in fails(*arguments, cwd=fake, code=2)


def test_queries_that_try_something(fake: Path) -> None:
    for query in ("'; DROP TABLE papers; --", "a" * 100_000, "x\udcff", "../../etc/passwd", "[red]x[/red]", "%s%n"):
        done = run("query", query, "--index", "i", "--mode", "keyword", cwd=fake)
        assert done.returncode == 0, done.stderr
    megabyte = b"star " * 200_000
    assert run("query", "-", "--index", "i", "--mode", "keyword", "-k", "1", cwd=fake, stdin=megabyte).returncode == 0
    many = run("query", "star", "--index", "i", "--mode", "keyword", "-k", "10000000", "--format", "json", cwd=fake)
    assert 0 < len(json.loads(many.stdout)["hits"]) <= 50


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    corpora.write(tmp_path / "p", corpora.records(20))
    build_index(tmp_path / "p", tmp_path / "i", encoder=FakeEncoder())
    path = next((tmp_path / "i" / "vectors").iterdir())
    rows = path.read_bytes()
    path.write_bytes(rows[:-1] + bytes([rows[-1] ^ 1]))
    done = run("verify", "--index", "i", cwd=tmp_path)
    assert done.returncode == 1
    assert path.name in done.stdout
    assert done.stderr.startswith("Error: expected a whole index in i, found 1 thing wrong; build it again")


def test_a_newer_format(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 2, "features": [], "checksum": ""}))
    assert "found format 2: update embedsearch" in fails("query", "x", "--index", tmp_path, cwd=tmp_path)


@pytest.mark.parametrize("n", [1, 100])
def test_a_closed_pipe_ends_quietly(fake: Path, n: int) -> None:
    """Also where the output is more than a pipe holds, so that writing fails and not only closing."""
    queries = "star gas dust " * n
    command = f"{sys.executable} -m embedsearch query {queries} --index i --mode keyword -k 50 --format csv | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=fake, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


INTERRUPTED = """
import sys, time
sys.path.insert(0, sys.argv.pop(1))
from fake_encoder import FakeEncoder
import embedsearch.build as pipeline
class Slow(FakeEncoder):
    spec = pipeline.ModelSpec(name="slow")
    def encode_prepared(self, prepared, *, progress=None):
        print("embedding", flush=True)
        time.sleep(60)
pipeline.open_encoder = lambda *a, **k: Slow()
from embedsearch.cli.main import main
main()
"""


def slow_build(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", INTERRUPTED, Path(__file__).parent, "build-index", "papers.jsonl", "--index", "s"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"embedding\n"
    return process


def test_interrupted_is_130_and_a_second_writer_is_told(fake: Path) -> None:
    process = slow_build(fake)
    error = fails("build-index", "papers.jsonl", "--index", "s", cwd=fake)
    assert f"found process {process.pid} on {socket.gethostname()} writing since 20" in error
    assert run("query", "star", "--index", "s", "--mode", "keyword", cwd=fake).returncode == 0
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted. What was finished is kept" in stderr.decode()
    assert "Traceback" not in stderr.decode()


@pytest.mark.parametrize(("command", "kept"), [("embed", True), ("build-index", True), ("compare", False)])
def test_only_commands_that_go_on_say_so(command, kept, monkeypatch, capsys):
    from embedsearch.cli import main

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main.cli, "main", interrupted)
    monkeypatch.setattr("sys.argv", ["embedsearch", command])
    with pytest.raises(SystemExit, match="130"):
        main.main()
    error = capsys.readouterr().err
    assert "Interrupted." in error
    assert ("goes on from there" in error) == kept


def test_help_names_every_command_and_loads_nothing(fake: Path) -> None:
    from embedsearch.cli.main import COMMANDS

    text = run("--help", cwd=fake).stdout
    assert all(name in text for name in COMMANDS)
    for name in COMMANDS:
        assert run(name, "--help", cwd=fake).returncode == 0
    code = (
        "import sys\ntry:\n from embedsearch.cli.main import main; main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    for arguments in (["--help"], ["query", "--help"], ["build-index", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert not loaded & {"torch", "transformers", "numpy", "faiss", "tantivy", "rich", "matplotlib", "msgspec"}


def test_a_keyword_query_loads_tantivy_alone(fake: Path) -> None:
    code = (
        "import sys\ntry:\n from embedsearch.cli.main import main; main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    arguments = ["query", "star", "--index", "i", "--mode", "keyword", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=fake, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tantivy" in loaded
    assert not loaded & {"torch", "transformers", "faiss", "matplotlib", "pandas", "pyarrow"}


def test_a_query_by_meaning_does_not_wait_for_transformers(home: Path) -> None:
    code = (
        "import sys\ntry:\n from embedsearch.cli.main import main; main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "query", "magnetized plasma", "--device", "cpu", "--format", "json"],
        cwd=home, capture_output=True, text=True, check=True, env=ENVIRONMENT,
    )  # fmt: skip
    *shown, modules = done.stdout.splitlines()
    assert json.loads("\n".join(shown))["hits"]
    loaded = set(modules.split())
    assert {"torch", "tokenizers"} <= loaded
    assert not loaded & {"transformers", "scipy", "torch._dynamo", "torch.distributed.tensor", "huggingface_hub"}


def test_the_similarity_plot_is_counted_from_the_stored_vectors(fake: Path) -> None:
    from embedsearch.store.space import Space

    done = run("similarity-plot", "--index", "i", "--out", "s.pdf", cwd=fake)
    vectors = Space.open(fake / "i").vectors.astype(float)
    pairs = (vectors @ vectors.T)[np.triu_indices(50, 1)]
    drawn = json.loads((fake / "s.json").read_text())["panels"][0]["spaces"][0]
    assert drawn["mean"]["value"] == pytest.approx(pairs.mean(), abs=1e-8)
    assert drawn["sd"]["value"] == pytest.approx(pairs.std(), abs=1e-8)
    assert done.stdout.startswith("space ")
