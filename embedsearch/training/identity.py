"""What two trainings differ in, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What differs between two identities, `name value against value` for each, separated by "; "."""
    a, b = dict(_flat(first)), dict(_flat(second))
    return "; ".join(
        f"{name} {_brief(a.get(name))} against {_brief(b.get(name))}"
        for name in [*a, *(name for name in b if name not in a)]
        if a.get(name) != b.get(name)
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{name} ")
        else:
            yield f"{prefix}{name}", inner


def _brief(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else json.dumps(value)
