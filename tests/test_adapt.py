"""docs/adapt.md and the chain behind its table: commands exist, numbers are those counted, tiny models go through."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import tiny_language_models

from benchmarks import adapt, adapt_steps, adapt_table, training_arithmetic
from benchmarks.adapt_plan import Chain, Result, Variant
from embedsearch.cli.main import cli
from embedsearch.measures import mean_interval

PAGE = (Path(__file__).parents[1] / "docs" / "adapt.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("embedsearch ")]
N_PAPERS = 110


def write_corpus(path: Path) -> None:
    """Papers of the tiny models' words; a title has words of its abstract."""
    rng = np.random.default_rng(1)
    lines = []
    for i in range(N_PAPERS):
        words = rng.choice(tiny_language_models.WORDS, 12).tolist()
        record = {
            "id": f"2301.{i:05d}",
            "title": " ".join(words[:4]),
            "abstract": " ".join(words),
            "categories": ("gr-qc", "astro-ph.GA")[i % 2],
        }
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("adapt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_language_models, "CONTEXT", 512)
        for seed, name in enumerate(("encoder", "reader")):
            tiny_language_models.make_language_model(home / name, seed=seed, n_layers=1)
    write_corpus(home / "papers.jsonl")
    asked = [{"query": f"star {i}", "relevant": [f"2301.{i:05d}"], "kind": "words"} for i in range(4)]
    (home / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    sizes = ["--train", "60", "--held-out", "40", "--perplexity", "20", "--batch", "8", "--contrastive-tokens", "32"]
    sizes += ["--causal-epochs", "8", "--causal-tokens", "512"]
    models = ["--encoder", str(home / "encoder"), "--language-model", str(home / "reader")]
    files = ["--papers", str(home / "papers.jsonl"), "--queries", str(home / "queries.jsonl")]
    return [*files, "--work", str(home / "work"), *models, *sizes]


@pytest.fixture(scope="module")
def chain(arguments: list[str], one_thread: None) -> Chain:
    """All of it, but for the figures: one is drawn."""
    drawn = adapt_steps.plot

    def plot(chain: Chain, variant: Variant) -> Result:
        return drawn(chain, variant) if variant.slug == "encoder-contrastive" else {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt_steps, "plot", plot)
        adapt.main(arguments)
    return adapt.chain_of(adapt.parse(arguments))


def test_no_training_sees_what_is_measured(chain: Chain) -> None:
    ids = {
        name: {json.loads(line)["id"] for line in chain.corpus(name).read_text().splitlines()}
        for name in ("held-out", "encoder", "language_model")
    }
    assert len(ids["held-out"]) == 40
    assert {f"2301.{i:05d}" for i in range(4)} <= ids["held-out"]  # what questions ask for
    assert not ids["held-out"] & ids["encoder"]
    assert ids["language_model"] < ids["encoder"]


def test_the_tables_have_each_model_and_each_figure(chain: Chain) -> None:
    text = adapt_table.block(chain)
    spaces, titles, questions, guards = (part for part in text.split("\n\n") if part.startswith("| "))
    for table, n_columns in ((spaces, 6), (titles, 4), (questions, 4)):
        rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
        assert [row[0].strip() for row in rows] == [
            "encoder", "encoder, contrastive",
            "reader", "reader, causal", "reader, contrastive", "reader, causal then contrastive",
        ]  # fmt: skip
        assert all(len(row) == n_columns for row in rows)
    assert "nan" not in text
    assert titles.startswith("| MRR@10, 40 queries (title) |")
    assert questions.startswith("| MRR@10, 4 queries (queries, words) |")
    assert "| other fields, questions: MRR@10 |" in guards
    assert sum(line.startswith("- ") for line in text.splitlines()) == 5


def test_a_variant_can_be_left_out(chain: Chain) -> None:
    text = adapt_table.block(replace(chain, without=("causal then contrastive",)))
    assert "causal then contrastive" not in text
    assert "reader, contrastive" in text


def test_differences_are_paired(chain: Chain) -> None:
    values = json.loads(chain.result("evaluate language_model").read_bytes())["values"]["title"]["dense"]
    gains = np.array(values["causal"]) - np.array(values["base"])
    assert gains.any()
    found = mean_interval(gains)
    (line,) = [line for line in adapt_table.differences(chain) if line.startswith("reader, causal less reader: ")]
    assert f"MRR@10 of title, dense {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]" in line
    assert "AUC of equal categories" in line


def test_causal_training_lowered_the_perplexity_that_is_shown(chain: Chain) -> None:
    (difference,) = adapt_table.surprises(chain).differences
    assert difference.perplexity.high < 0


def test_what_lost_its_head_has_no_perplexity(chain: Chain) -> None:
    """Its head was not the table of its words, so pairs left none."""
    rows = adapt_table.space_table(chain).splitlines()
    assert [row.split("|")[2].strip() == "no head" for row in rows[2:]] == [True, True, False, False, True, True]


def test_what_is_done_is_not_done_again(
    chain: Chain, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt_steps, "finetune", None)
    adapt.main(arguments)
    again = capsys.readouterr()
    assert again.err == ""
    adapt.main(["--work", str(chain.work), "--table"])
    assert capsys.readouterr().out == again.out
    adapt.main(["--work", str(chain.work), "--list", "--table"])
    assert all(line.startswith("done") for line in capsys.readouterr().out.splitlines())


def test_other_options_are_refused(chain: Chain, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"Error: expected train as in .*options.json, found another"):
        adapt.main([*arguments, "--train", "61"])


def test_the_figure_is_drawn(chain: Chain) -> None:
    assert (chain.work / "figures" / "encoder-contrastive.png").stat().st_size > 1000


def test_without_a_chain_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="found none; name --papers to run one"):
        adapt.main(["--work", str(tmp_path), "--table"])
    with pytest.raises(SystemExit):
        adapt.main(["--work", str(tmp_path)])
    assert "expected --papers FILE" in capsys.readouterr().err


def test_the_page_gets_the_tables(chain: Chain, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{adapt_table.BEGIN}\nold\n{adapt_table.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        adapt.main(["--work", str(chain.work), "--write", str(page)])
    assert page.read_text(encoding="utf-8") == f"before\n{adapt_table.block(chain)}\nafter\n"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit, match="put them where the table belongs"):
        adapt.main(["--work", str(chain.work), "--write", str(page)])


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_exists(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, arguments)


def test_the_page_uses_what_it_made() -> None:
    made = {"models/minilm-contrastive"} | set(re.findall(r"--(?:out|index) (models/\S+|indexes/\S+)", PAGE))
    for line in COMMANDS:
        words = shlex.split(line)
        assert {word for word in words if word.startswith(("models/", "indexes/"))} <= made


def test_what_is_counted_is_what_the_arithmetic_prints() -> None:
    assert f"\n{training_arithmetic.summary()}\n\n{training_arithmetic.table()}\n" in PAGE


def test_the_page_has_a_place_for_the_tables() -> None:
    assert PAGE.count(adapt_table.BEGIN) == PAGE.count(adapt_table.END) == 1
    assert PAGE.index(adapt_table.BEGIN) < PAGE.index(adapt_table.END)


def test_the_other_commands_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    for line in re.findall(r"^python -m benchmarks\.adapt (.*)$", PAGE, re.MULTILINE):
        adapt.parse(shlex.split(line))
    assert "python -m benchmarks.training_arithmetic" in PAGE
