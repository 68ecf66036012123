"""The named models, as JSON and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from embedsearch.encoders.models import NamedModel, NamedService


def model_dict(model: NamedModel, *, here: bool) -> dict[str, Any]:
    """A named model as JSON has it."""
    return {
        "name": model.name,
        "summary": model.summary,
        "dim": model.dim,
        "max_tokens": model.max_tokens,
        "pooling": model.pooling.value,
        "licence": model.licence,
        "hub_id": model.hub_id,
        "package": model.package.distribution if model.package else None,
        "install": model.package.install if model.package else None,
        "here": here,
    }


def service_dict(service: NamedService) -> dict[str, Any]:
    """A named model of a service as JSON has it."""
    return {
        "name": service.name,
        "summary": service.summary,
        "dim": service.dim,
        "max_tokens": service.max_tokens,
        "pooling": "service",
        "licence": service.licence,
        "hub_id": None,
        "package": None,
        "install": service.install,
        "here": False,
    }


def models_table(models: Sequence[tuple[NamedModel, bool]], services: Sequence[NamedService] = ()) -> Table:
    """The named models for a terminal."""
    table = Table.grid(padding=(0, 2, 1, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for model, here in models:
        if here:
            where = "here"
        elif model.package:
            where = f"not here: {model.package.install}"
        else:
            where = f"not here: fetched from the hub when it is used, {model.download}"
        facts = (
            f"{model.dim} dimensions, up to {model.max_tokens} tokens, {model.pooling.value}; licence: {model.licence}"
        )
        table.add_row(model.name, f"{model.summary}\n{facts}\n{where}")
    for service in services:
        facts = f"{service.dim} dimensions, up to {service.max_tokens} tokens; licence: {service.licence}"
        where = f"a service, which is paid: set OPENAI_API_KEY, and {service.install}"
        table.add_row(service.name, f"{service.summary}\n{facts}\n{where}")
    return table
