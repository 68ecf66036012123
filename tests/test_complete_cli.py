"""The command that lets language models finish abstracts: what it prints, the pages it writes, what it refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chatting, spoken
from running import run
from tiny_language_models import make_language_model

from embedsearch.render.completion import _paragraph

pytestmark = pytest.mark.usefixtures("one_thread")
NASTY = "star <script>alert(1)</script> gas & [link](http://x.y) `dust`"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a corpus of two papers, a file of prompts, and an index of the sample."""
    home = tmp_path_factory.mktemp("home")
    make_language_model(home / "llama")
    make_language_model(home / "other", seed=5)
    papers = [
        {
            "id": "2301.00001",
            "title": "Gas & <b>dust</b>",
            "abstract": "star gas. Dust wave 5. Hot NGC 1333. Old disk.",
        },
        {"id": "x1", "title": "Short", "abstract": "One sentence."},
    ]
    (home / "papers.jsonl").write_text("".join(json.dumps(paper) + "\n" for paper in papers))
    (home / "prompts.txt").write_text("\ufeffstar gas\n\nhot dust\n")  # with a mark, as Windows writes files
    return home


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with chatting() as server:
        server.answer = lambda body: (200, spoken("Old disk with 77 stars of NGC 1333 and HD 1."))
        yield server


def completed(home: Path, *arguments: str, **options: Any) -> Any:
    dtype = ("--dtype", "float32", "--device", "cpu")
    model = () if "--model" in arguments else ("--model", "llama")
    return run("complete", *model, *dtype, "--max-new-tokens", "8", *arguments, cwd=home, **options)


def test_models_side_by_side_with_the_abstract(home: Path, server: ChatServer) -> None:
    done = completed(
        home, "papers.jsonl", "--paper", "arXiv:2301.00001v2", "--sentences", "2", "--model", "llama", "--model",
        "openai:fake-chat", "--base-url", server.url, "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["encoder"] == "minilm"
    assert [model["name"] for model in made["models"]] == ["llama", "openai:fake-chat"]
    case = made["cases"][0]
    assert (case["prompt"], case["rest"]) == ("star gas. Dust wave 5.", "Hot NGC 1333. Old disk.")
    service = case["completions"][1]
    assert (service["numbers_invented"], service["names_invented"]) == (["77"], ["HD 1"])
    assert (service["names_known"], service["numbers_known"]) == (0.5, 0.0)
    assert 0.3 < service["cosine_rest"] < 1
    assert service["ended"]
    assert made["command"].startswith("embedsearch complete")
    assert "Sending 1 prompts to 127.0.0.1" in done.stderr
    assert "sk-secret" not in done.stdout + done.stderr


def test_the_table_has_texts_then_measures(home: Path) -> None:
    done = completed(home, "papers.jsonl", "--paper", "2301.00001", "--encoder", "none", "--model", "llama", "--model",
                     "other")  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts, measures = done.stdout.split("measure", 1)
    assert texts.index("the abstract goes on") < texts.index("llama (") < texts.index("other (")
    assert "Old disk." in texts
    assert measures.splitlines()[0].split() == ["the", "abstract", "llama", "other"]
    assert measures.splitlines()[1].split()[:2] == ["words", "2"]
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "Temperature 0.3, at most 8 new tokens, seed 0" in measures


def test_the_same_seed_is_the_same_text_whatever_else_is_asked(home: Path) -> None:
    alone = completed(home, "--prompt", "star gas", "--format", "csv")
    both = completed(home, "--prompts", "prompts.txt", "--format", "csv")
    again = completed(home, "--prompts", "-", "--format", "csv", stdin=b"hot dust\nstar gas\n")
    rows = [list(csv.DictReader(io.StringIO(done.stdout))) for done in (alone, both, again)]
    assert rows[0][0] == rows[1][0] == rows[2][1]
    assert rows[1][1] == rows[2][0]
    assert rows[0][0]["model"] == "llama"


def test_bytes_that_are_no_text_are_replaced(home: Path) -> None:
    done = completed(home, "--prompt", "star \udcff gas", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cases"][0]["prompt"] == "star ? gas"


class _Page(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_everything(home: Path, server: ChatServer) -> None:
    server.answer = lambda body: (200, spoken(f"{NASTY} 77"))
    done = completed(
        home, "papers.jsonl", "--paper", "2301.00001", "--prompt", NASTY, "--encoder", "none", "--out", "out/a.html",
        "--model", "llama", "--model", "openai:<i>", "--base-url", server.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = _Page((home / "out" / "a.html").read_text())
    assert page.addresses == ["https://arxiv.org/abs/2301.00001"]
    assert not {"script", "i", "b", "link", "img"} & set(page.tags)
    assert page.text.count(NASTY) == 2  # the prompt, and the answer to the other, as none repeats its own
    assert "Gas & <b>dust</b>" in page.text
    assert page.tags.count("mark") == 1 + 2 + 1  # the legend; 77 and the 1 of alert(1); 77
    assert "out/a.html: a page to show." in done.stderr


def test_a_page_of_markdown(home: Path, server: ChatServer) -> None:
    server.answer = lambda body: (200, spoken("# head\n- | <b> *x* 77"))
    done = completed(home, "papers.jsonl", "--paper", "2301.00001", "--encoder", "none", "--out", "a.md", "--model",
                     "openai:m", "--base-url", server.url)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (home / "a.md").read_text().splitlines()
    assert lines[4] == "## [2301.00001  Gas &amp; &lt;b&gt;dust&lt;/b&gt;](https://arxiv.org/abs/2301.00001)"
    assert "\\# head - \\| &lt;b&gt; \\*x\\* 77" in lines
    assert "*In neither the prompt nor the abstract: 77*" in lines
    assert [line.count(" | ") for line in lines if line.startswith("| ")] == [10, 10, 10]


@pytest.mark.parametrize("text", ["12) stars", "3. stars", "- stars", "+ stars", "=== ", "1\\. stars"])
def test_no_paragraph_of_markdown_is_a_list_or_an_underline(text: str) -> None:
    digits = len(text) - len(text.lstrip("0123456789"))
    assert _paragraph(text)[digits] == "\\"
    assert _paragraph("2.5 K. - x") == "2\\.5 K. - x"


def test_a_paper_of_an_index(home: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    assert run("build-index", "papers.jsonl", "--index", index, cwd=home).returncode == 0
    done = completed(home, "--index", str(index), "--paper", "2301.00001", "--encoder", "none", "--format", "csv")
    assert done.returncode == 0, done.stderr
    same = completed(home, str(index), "--paper", "2301.00001", "--encoder", "none", "--format", "csv")
    of_file = completed(home, "papers.jsonl", "--paper", "2301.00001", "--encoder", "none", "--format", "csv")
    assert done.stdout == same.stdout == of_file.stdout
    done = completed(home, "--index", str(index), "--paper", "1234.56789")
    assert done.returncode == 1
    assert f"Error: expected a paper '1234.56789' in {index}, found none" in done.stderr


def test_what_an_earlier_model_wrote_is_not_lost(home: Path, server: ChatServer) -> None:
    server.answer = lambda body: (404, {"error": {"message": "no such model"}})
    done = completed(home, "--prompt", "star gas", "--model", "llama", "--model", "openai:m", "--base-url", server.url)
    assert done.returncode == 1
    assert "llama (" in done.stdout
    assert "openai:m" not in done.stdout
    assert "Error: expected the model 'm' at http" in done.stderr


def test_all_models_are_looked_up_before_the_first_writes(home: Path) -> None:
    done = completed(home, "--prompt", "star gas", "--model", "llama", "--model", "minilm")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Error: expected a language model, found minilm" in done.stderr


BAD = [
    (("--prompt", "  "), 1, "expected a text in --prompt, found none"),
    (("--prompt", "star " * 40), 1, "expected fewer than the 32 tokens that llama takes in prompt 1, found 41"),
    (("papers.jsonl", "--paper", "x1"), 1, "expected an abstract of two sentences or more, found 1 in x1"),
    (("papers.jsonl", "--paper", "2301.00001", "--sentences", "9"), 1, "expected from 1 to 3 sentences of 2301.00001"),
    (("papers.jsonl", "--paper", "none"), 1, "expected a paper 'none' in papers.jsonl, found none"),
    (("--paper", "2301.00001"), 1, "indexes/default"),
    (("--prompts", "nothing.txt"), 1, "expected a file of texts in UTF-8, one a line, at nothing.txt, found: No such"),
    (("--prompts", "-"), 1, "expected texts, one a line, in -, found none"),
    (("--prompts", "llama/model.safetensors"), 1, "expected a file of texts in UTF-8"),
    (("--prompt", "star", "--model", "minilm"), 1, "expected a language model, found minilm, an encoder"),
    (("--prompt", "star", "--model", "openai:x"), 1, "expected a key for api.openai.com in OPENAI_API_KEY, found none"),
    (("--prompt", "star", "--chat"), 1, "expected a chat template in llama, found none"),
    (("--prompt", "star", "--temperature", "nan"), 1, "expected a temperature from 0 to 10, found nan"),
    (("--prompt", "star", "--out", "page.pdf"), 1, "expected a page named *.md, *.html, found 'page.pdf'"),
    (("--prompt", "star", "--out", "/proc/page.md"), 1, "expected to write /proc/page.md"),
    (("--prompt", "star", "--out", "folder.html"), 1, "found a folder of that name"),
    (("papers.jsonl", "--paper", "2301.00001", "--encoder", "nowhere"), 1, "nowhere"),
    (("--prompt", "star", "--model", "a", "--model", "b", "--revision", "x"), 2, "Expected one --model beside --revis"),
    ((), 2, "Expected what to go on from"),
    (("papers.jsonl",), 2, "Expected --paper ID beside a corpus"),
    (("--prompt", "star", "--max-new-tokens", "0"), 2, "--max-new-tokens"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (home / "folder.html").mkdir(exist_ok=True)
    done = completed(home, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert [line.startswith("Error: ") for line in done.stderr.splitlines()] == [True]
