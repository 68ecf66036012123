"""Whether a set is there, and which ones are near."""

from __future__ import annotations

from difflib import get_close_matches

from embedsearch.errors import OptionError
from embedsearch.fetch.protocol import OaiError
from embedsearch.fetch.records import OAI
from embedsearch.fetch.server import Server

_MAX_PAGES = 20
_N_NEAR = 4


def list_sets(server: Server) -> list[str]:
    """The sets that a server names, none where it has none. Raises ServerError where it cannot be asked."""
    names: list[str] = []
    arguments: dict[str, str] = {}
    for _ in range(_MAX_PAGES):
        try:
            element = server.ask("ListSets", arguments).element
        except OaiError:
            break
        names += [text.strip() for item in element.findall(f"{OAI}set") if (text := item.findtext(f"{OAI}setSpec"))]
        token = (element.findtext(f"{OAI}resumptionToken") or "").strip()
        if not token:
            break
        arguments = {"resumptionToken": token}
    return names


def explain_set(server: Server, name: str) -> None:
    """Raise OptionError, with the names that are near, if the server does not name this set among its own."""
    known = list_sets(server)
    if known and name not in known:
        raise OptionError(f"expected a set of {server.host}, found {name!r}; {near_sets(name, known)}")


def near_sets(name: str, known: list[str]) -> str:
    """The sets of `known` that may be meant, in words."""
    by_lower = {other.lower(): other for other in known}
    # People write the category of a paper, astro-ph.GA, or the last part alone.
    wanted = name.lower().replace(".", ":")
    inside = [other for other in by_lower if f":{other}".endswith(f":{wanted}")]
    near = inside or get_close_matches(wanted, by_lower, n=_N_NEAR, cutoff=0.6)
    near = near or [other for other in by_lower if wanted.split(":")[-1] in other]
    if not near:
        return f"it has {len(known)}, such as {', '.join(sorted(known)[:_N_NEAR])}"
    return f"did you mean {' or '.join(by_lower[other] for other in near[:_N_NEAR])}?"
