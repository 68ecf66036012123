"""The table of commands. Each is imported when it is called, so that help loads nothing."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import Any

import click

from embedsearch._version import __version__
from embedsearch.errors import EmbedsearchError

COMMANDS = {
    "build-index": ("build_index", "Make an index of a file of papers, or finish one."),
    "embed": ("embed", "Embed papers: an index without a FAISS file, or a file of vectors."),
    "query": ("query", "Find papers by meaning and by words."),
    "fetch": ("fetch", "Take papers from arXiv, or go on with where it stopped."),
    "add": ("add", "Put new and changed papers into an index."),
    "remove": ("remove", "Take papers out of an index."),
    "compact": ("compact", "Write an index anew without what was removed."),
    "rollback": ("rollback", "Go back to the state of an index before the last one."),
    "log": ("log", "Say what was done to an index, and when."),
    "today": ("today", "List the new papers that are nearest to yours."),
    "duplicates": ("duplicates", "Find papers that are nearly the same."),
    "map": ("map", "Draw the papers in two dimensions."),
    "similarity-plot": ("similarity_plot", "Draw how alike a model finds all pairs of papers."),
    "divergent-pairs": ("divergent_pairs", "Find the pairs of papers on which two models disagree."),
    "compare": ("compare", "Measure one or more models' spaces on the same papers."),
    "evaluate": ("evaluate", "Measure how well an index or a model finds papers, and what it costs."),
    "finetune": ("finetune", "Adapt a model to a literature."),
    "merge": ("merge", "Put an adapter into its model."),
    "perplexity": ("perplexity", "Measure how well language models predict abstracts."),
    "complete": ("complete", "Let language models finish an abstract."),
    "info": ("info", "Say what an index is and how far it is."),
    "verify": ("verify", "Check every file of an index."),
    "models": ("models", "List the models that have a name."),
    "serve": ("serve", "Answer over HTTP: an API and a page."),
    "keys": ("keys", "Say who may ask a server."),
    "mcp": ("mcp", "Let agents search: the Model Context Protocol."),
}

GO_ON = (["build-index"], ["embed"], ["add"], ["fetch"], ["today"], ["finetune"])
"""The commands that keep what they have finished when they are interrupted."""


class _PipeClosed(Exception):
    """Whoever read our output has seen enough. Not a BrokenPipeError, of which click makes exit code 1 by itself."""


class Commands(click.Group):
    """Finds a command in the table."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise _PipeClosed from error
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _ = COMMANDS[name]
        command: click.Command = import_module(f"embedsearch.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"No command {args[0]!r}: {known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="embedsearch")
def cli() -> None:
    """Search arXiv abstracts by meaning.

    To begin:  embedsearch build-index,  then  embedsearch query "magnetized plasma"
    """


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 could not be done, 2 the command line is wrong, 130 interrupted."""
    # Python looks through all objects once more before it ends, which takes 0.3 s where torch was loaded.
    atexit.register(gc.freeze)
    try:
        cli.main(prog_name="embedsearch", standalone_mode=False, auto_envvar_prefix="EMBEDSEARCH")
        code = 0
    except EmbedsearchError as error:
        from embedsearch.render.tables import printable

        click.echo(f"Error: {printable(' '.join(str(error).split()))}", err=True)
        code = 1
    except click.exceptions.Exit as exit:
        code = exit.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        kept = " What was finished is kept: the same command goes on from there." if sys.argv[1:2] in GO_ON else ""
        click.echo(f"\nInterrupted.{kept}", err=True)
        code = 130
    except _PipeClosed:
        # Python would complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
