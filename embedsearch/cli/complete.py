"""embedsearch complete"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.completing import find_prompts, labels, write_all
from embedsearch.cli.options import DEFAULT_INDEX, compute_options, format_option, is_quiet, message_options

if TYPE_CHECKING:
    from embedsearch.language.completion_study import CompletionStudy

PAGES = (".md", ".html")


@click.command(name="complete")
@click.argument("corpus", required=False)
@click.option("--prompt", "texts", multiple=True, metavar="TEXT", help="A text to go on from. May be repeated.")
@click.option("--prompts", "file", metavar="FILE", help="A file of texts, one a line; - is stdin.")
@click.option("--paper", "ids", multiple=True, metavar="ID", help="A paper to go on from. May be repeated.")
@click.option(
    "--sentences",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="With --paper: how many sentences of the abstract are given.",
)
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    default=DEFAULT_INDEX,
    show_default=True,
    envvar="EMBEDSEARCH_INDEX",
    metavar="DIR",
    help="The index that has the papers, where no CORPUS is named.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("smollm2",),
    show_default=True,
    metavar="NAME",
    help="A language model: a named one, a folder, a GGUF file, an adapter, a hub id, or openai:NAME. May be repeated.",
)
@click.option("--revision", help="Commit, tag or branch of a hub model.")
@click.option("--base", metavar="NAME", help="The model that an adapter was trained on, where it does not lie there.")
@click.option("--base-url", metavar="URL", help="Of a service other than OpenAI's; also OPENAI_BASE_URL.")
@click.option("--temperature", type=float, default=0.3, show_default=True, help="0: always the likeliest token.")
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=1024, show_default=True, help="Where a text is cut."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of what is drawn. [in bfloat16 a text may depend on the others, unless --token-budget is 1]",
)
@click.option("--chat", is_flag=True, help="Ask through the model's chat template, not by the bare text.")
@click.option(
    "--encoder", default="minilm", show_default=True, metavar="NAME", help="What cosines are by; none: no cosines."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="A page to show: .html or .md.")
@format_option("table", "json", "csv")
@compute_options
@message_options
def command(
    corpus: str | None,
    texts: tuple[str, ...],
    file: str | None,
    ids: tuple[str, ...],
    sentences: int,
    index: Path,
    models: tuple[str, ...],
    revision: str | None,
    base: str | None,
    base_url: str | None,
    out: Path | None,
    format_: str | None,
    **how: Any,
) -> None:
    """Let language models finish abstracts, side by side with the abstract as it is.

    The papers of --paper come from CORPUS, a file of papers or an index, else from
    --index. A model is given the bare text, also
    one that follows instructions; a service is asked for a paragraph that goes on. Beside each text stand its length,
    its repetition, how near it is to the true abstract, and the numbers and names that nobody gave it.
    """
    from embedsearch.encoders import Compute, open_encoder
    from embedsearch.language.completion import CompletionOptions
    from embedsearch.language.completion_study import study_completions

    if corpus is not None and not ids:
        raise click.UsageError("Expected --paper ID beside a corpus, found none.")
    if not (texts or file or ids):
        raise click.UsageError('Expected what to go on from: --paper ID, --prompt "TEXT" or --prompts FILE.')
    if revision is not None and len(models) > 1:
        raise click.UsageError("Expected one --model beside --revision, found several.")
    if out is not None:
        _check_page(out)
    options = CompletionOptions(
        temperature=how["temperature"], max_new_tokens=how["max_new_tokens"], seed=how["seed"], use_chat=how["chat"],
        token_budget=how["token_budget"],
    )  # fmt: skip
    prompts = find_prompts(texts, file, ids, n_sentences=sentences, source=corpus, index=index)
    compute = Compute(device=how["device"], dtype=how["dtype"])
    has_truth = any(prompt.rest is not None for prompt in prompts)
    encoder = open_encoder(how["encoder"], compute=compute) if has_truth and how["encoder"] != "none" else None
    written, error = write_all(
        labels(models), prompts, options, revision=revision, base=base, base_url=base_url, compute=compute
    )
    study = study_completions(
        prompts, written, options, encoder=encoder, encoder_name=next(iter(labels((how["encoder"],))))
    )
    _give(study, out, format_)
    if error is not None:
        raise error


def _give(study: CompletionStudy, out: Path | None, format_: str | None) -> None:
    from embedsearch.render import completion as render
    from embedsearch.render.completion_page import to_html
    from embedsearch.store.atomic import write_bytes

    if out is not None:
        page = to_html(study) if out.suffix.lower() == ".html" else render.to_markdown(study)
        write_bytes(out, page.encode(errors="replace"))
    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]])}
    width = shutil.get_terminal_size().columns
    click.echo(render.to_text(study, format_ or "table", about=about, width=width), nl=False)
    if out is not None and not is_quiet():
        click.echo(f"{out}: a page to show.", err=True)


def _check_page(out: Path) -> None:
    """Before minutes of writing."""
    from embedsearch.errors import OptionError
    from embedsearch.store.atomic import check_writable

    if out.suffix.lower() not in PAGES:
        raise OptionError(f"expected a page named *{', *'.join(PAGES)}, found {out.name!r}")
    if out.is_dir():
        raise OptionError(f"expected to write a page to {out}, found a folder of that name: {out.name}")
    check_writable(out)
