"""What a server is told when it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from embedsearch.encoders import Compute
from embedsearch.errors import OptionError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one request may ask for, and how long it may take. Sizes in bytes, times in seconds."""

    k: int = 1000
    text: int = 10_000
    """Characters of one text."""
    n_texts: int = 256
    """Texts of one request."""
    body: int = 1 << 20
    queue: int = 256
    """Requests that wait or are worked on, of each worker; the next one gets 503."""
    seconds: float = 30.0
    """From a whole request to its answer; then 504."""
    receive_seconds: float = 15.0
    """From the first byte of a request to its last; then 408."""
    drain_seconds: float = 30.0
    """After SIGTERM, for what is under way."""
    connections: int = 512
    """Open ones of each worker; the next one gets 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How the queries that wait share a pass of the encoder."""

    max_texts: int = 64
    """Texts in a pass; 1 turns batching off."""
    cached_queries: int = 10_000
    """Vectors of recent queries that are kept; 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """All that a worker needs to know; can be pickled, since workers are spawned."""

    index: Path
    model: str | None = None
    compute: Compute = field(default_factory=Compute)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    keys_file: Path | None = None
    """Hashed keys, see keys.py. EMBEDSEARCH_API_KEY, where it is set, is one more with the role read."""
    public_read: bool = False
    """Whether reading needs no key although there are some."""
    insecure: bool = False
    """Whether another host than loopback may be served without keys."""
    show_day: bool | None = None
    """Whether the page shows the day's list, which tells what somebody likes; None: where no stranger can read."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the server may be addressed, beside loopback's; () with keys: any."""
    log_format: str = "text"
    """Of the access log: text, json or none."""
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    poll_seconds: float = 1.0
    """How often the index is looked at for a new generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """What a server on a Ray cluster is told beside ServeOptions. Raises OptionError."""

    address: str | None = None
    """The cluster; None: one of this machine, which ends with the server."""
    parts: int = 1
    """Over how many processes the vectors are spread; 1: each replica has all."""
    replicas: tuple[int, int] = (1, 1)
    """Of the server, and of each part: at least, and at most where many ask."""
    cpus_per_replica: float = 1

    def __post_init__(self) -> None:
        least, most = self.replicas
        if not 1 <= least <= most:
            raise OptionError(f"expected replicas as MIN:MAX, 1 or more, found {least}:{most}")
        if self.parts < 1 or not 0 <= self.cpus_per_replica < math.inf:
            raise OptionError(f"expected 1 part or more, found {self.parts} with {self.cpus_per_replica:g} cores each")

    @property
    def cpus(self) -> float:
        """Cores of all replicas when there are as many as may be."""
        return self.replicas[1] * (1 + (self.parts if self.parts > 1 else 0)) * self.cpus_per_replica
