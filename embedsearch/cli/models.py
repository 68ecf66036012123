"""embedsearch models"""

from __future__ import annotations

import click

from embedsearch.cli.options import format_option, message_options
from embedsearch.cli.terminal import show


@click.command(name="models")
@format_option("table", "json")
@message_options
def command(format_: str | None) -> None:
    """List the models that have a name, and whether they are here.

    Any folder of a model, GGUF file or hub id can be named as well, and openai:NAME for a model of a service.
    """
    from embedsearch.encoders.models import NAMED_MODELS, NAMED_SERVICES
    from embedsearch.encoders.weights import find_local
    from embedsearch.render import models as render
    from embedsearch.render.results import to_json

    listed = [(model, find_local(model) is not None) for model in NAMED_MODELS.values()]
    if format_ == "json":
        models = [render.model_dict(model, here=here) for model, here in listed]
        click.echo(to_json([*models, *map(render.service_dict, NAMED_SERVICES.values())]))
    else:
        show(render.models_table(listed, list(NAMED_SERVICES.values())))
