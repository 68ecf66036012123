"""Requests by the thousand made from a server's own description: schemathesis with all of its checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

ASCII, UNICODE = "ascii", "utf-8"
"""What texts are made of."""

EXCUSED = (
    "papers in all, found",  # a product of two numbers
    "expected words ",  # the patterns of JSON Schema know the blanks and letters of ASCII alone
    "expected the name of an author",
)
"""What the answer to a good request may say, since a description cannot."""


@dataclass
class Found:
    """What the server answered, and what was wrong with it."""

    statuses: Counter[str] = field(default_factory=Counter)
    """By method, path and status."""
    checks: Counter[str] = field(default_factory=Counter)
    """That were passed, by name."""
    failures: list[str] = field(default_factory=list)

    @property
    def n_requests(self) -> int:
        return sum(self.statuses.values())


def fuzz(url: str, *, token: str, examples: int, alphabet: str, edges: bool = True, seed: int = 0) -> Found:
    """Try every operation of the server at `url` with its examples, at the `edges` of each value, and with `examples`
    random requests, good and bad, the same each time. Allowed are neither other 5xx than 503 and 504 nor any answer
    that is not described."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig(seed=seed))
    config = schema.config
    config.update(headers={"Authorization": f"Bearer {token}"})
    config.generation.update(max_examples=examples, database="none", codec=alphabet)
    config.generation.deterministic = True
    config.phases.coverage.enabled = edges
    config.generation.no_shrink = True
    config.checks.not_a_server_error.expected_statuses = ["2xx", "3xx", "4xx", "503", "504"]
    if alphabet == UNICODE:
        config.checks.negative_data_rejection.enabled = False  # because of those patterns
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(event.recorder, found)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.failures.append(f"schemathesis: {event}")
    return found


def _count(recorder: ScenarioRecorder, found: Found) -> None:
    for id, interaction in recorder.interactions.items():
        request, response = interaction.request, interaction.response
        status, said = (response.status_code, response.content or b"") if response else ("none", b"")
        found.statuses[f"{recorder.label} {status}"] += 1
        for check in recorder.checks.get(id, ()):
            excused = check.name == "positive_data_acceptance" and any(text.encode() in said for text in EXCUSED)
            if check.failure_info is None:
                found.checks[check.name] += 1
            elif not excused:
                found.failures.append(
                    f"{check.name}: {request.method} {request.uri[:500]} {(request.body or b'')[:500]!r} -> {status}"
                    f" {said[:500]!r}: {check.failure_info.failure}"
                )
