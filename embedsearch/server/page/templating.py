"""The templates: everything is escaped, and a name that is not there is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from embedsearch.search import Sort
from embedsearch.server.page.address import MAX_LIKED
from embedsearch.server.page.files import files
from embedsearch.server.page.view import EXAMPLES, MODES


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        files=files(), modes=MODES, examples=EXAMPLES, max_liked=MAX_LIKED, best=Sort.SCORE, newest=Sort.DATE
    )
    return environment


def rendered(template: str, **values: Any) -> str:
    """A template with its values."""
    return _environment().get_template(template).render(**values)
