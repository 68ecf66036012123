"""What tells two trainings apart: the hash of a corpus; and for people, what differs."""

from __future__ import annotations

import hashlib
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


def text_checksum(rows: Mapping[str, str]) -> str:
    """SHA-256 in hex over ids and texts, whatever their order: which corpus a model was trained on."""
    digest = hashlib.sha256()
    for id in sorted(rows):
        for part in (id, rows[id]):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
