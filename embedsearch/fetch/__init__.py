"""Papers from arXiv, or from another server of the OAI protocol (OAI-PMH 2.0) that has arXiv's formats, as a file.

from pathlib import Path
from embedsearch.fetch import fetch

report = fetch(["physics:astro-ph"], Path("papers.jsonl"), since="2025-01-01")

The file has the records that were changed since that day, in the field names of arXiv's snapshot, in the order in which
they were changed. The same call goes on after a stop, and brings a file that is complete up to date.
"""

from embedsearch.errors import MissingExtra

try:
    from embedsearch.fetch.days import since_day, until_day
    from embedsearch.fetch.harvest import ARXIV, fetch
    from embedsearch.fetch.plan import DEFAULT_DAYS, PREFIXES
    from embedsearch.fetch.reports import FetchProgress, FetchReport
except ModuleNotFoundError as error:
    if error.name not in ("httpx", "lxml", "tenacity"):
        raise
    raise MissingExtra(f"papers are fetched with {error.name}: pip install 'embedsearch[today]'") from error

__all__ = [
    "ARXIV",
    "DEFAULT_DAYS",
    "PREFIXES",
    "FetchProgress",
    "FetchReport",
    "fetch",
    "since_day",
    "until_day",
]
