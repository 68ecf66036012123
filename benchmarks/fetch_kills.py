"""Fetches that are killed at random moments until their file is complete; and real records, field by field.

    python -m benchmarks.fetch_kills [--kills 50] [--seed 0] [--records FILE.jsonl.gz]

Each fetch runs in a process of its own against a server in this one, is killed with SIGKILL at a random moment of its
work, and started again. Exits with 1 if a file is not, byte for byte, that of a fetch that nobody disturbed, or if a
record of FILE (in the snapshot's form) is not the same again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fetched_papers import deletion, paper
from oai_server import OaiServer, completed, fault, serving, status

from embedsearch.corpus.fields import Columns, to_paper
from embedsearch.fetch import fetch

SETS = ("physics:astro-ph", "physics:hep-ph")
SINCE = "2026-01-01"
PAGE = 50
N_PAPERS = 900
SLOW = 0.03
"""Seconds for which the server thinks about an answer."""
FETCH = """
import sys
import embedsearch.fetch
print("ready", flush=True)
embedsearch.fetch.fetch(sys.argv[3:], sys.argv[1], since="2026-01-01", base_url=sys.argv[2], pause=0.0)
"""
LACKING = {"arXivRaw": {"authors_parsed"}, "arXiv": {"submitter", "versions"}}
UNKNOWN = {"arXivRaw": "Paper.authors", "arXiv": "Paper.version"}
"""What a reader makes of the fields that a format lacks: of `authors` instead of the parts, and nothing."""


@dataclass
class Tally:
    """What was found."""

    n_files: int = 0
    n_wrong: int = 0
    n_requests: int = 0
    at: Counter[str] = field(default_factory=Counter)


def papers() -> list[dict[str, Any]]:
    """Papers of a month in two sets, a third of them in both, with deletions and many of one day."""
    found = []
    for n in range(N_PAPERS):
        day = f"2026-01-{1 + min(n // 25, 27):02}"
        categories = ("astro-ph.GA", "hep-ph", "astro-ph.CO hep-ph")[n % 3]
        found.append(deletion(n, day) if n % 40 == 7 else paper(n, day, categories=categories))
    return found


def thinks(random: Random) -> Any:
    """A server that takes its time, is busy now and then, and lets a token expire."""

    def misbehave(n: int, query: dict[str, str]) -> Any:
        time.sleep(SLOW)
        luck = random.random()
        if luck < 0.03:
            return status(503, Retry_After="0")
        return fault("badResumptionToken") if luck < 0.05 and "resumptionToken" in query else None

    return misbehave


def where(out: Path) -> str:
    """How far a fetch was that has been killed."""
    state = out.with_name(out.name + ".fetch.json")
    if not state.exists():
        return "before the first request"
    found = json.loads(state.read_text())
    if found["is_complete"]:
        return "at the end"
    if found["sets_done"] == len(SETS):
        return "while the file is placed"
    part = out.with_name(out.name + ".part")
    has_more = part.exists() and part.stat().st_size > found["size"]
    return "between a page and its state" if has_more else f"between pages of set {found['sets_done'] + 1}"


def run(out: Path, server: OaiServer, after: float | None) -> bool:
    """Fetch in a process; True if it was killed, so many seconds after it was ready."""
    command = [sys.executable, "-c", FETCH, str(out), server.url, *SETS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        timer = threading.Timer(after, process.kill) if after is not None else None
        if timer:
            timer.start()
        code = process.wait()
        if timer:
            timer.cancel()
    if code not in (0, -9):
        raise SystemExit(f"a fetch ended with {code}")
    return code != 0


def kill(folder: Path, n_kills: int, random: Random) -> Tally:
    """Fetch one file after the other until so many were killed."""
    tally = Tally()
    with serving(papers(), PAGE) as server:
        undisturbed = folder / "undisturbed.jsonl"
        began = time.monotonic()
        run(undisturbed, server, None)
        server.misbehave = thinks(random)
        expected = undisturbed.read_bytes()
        usual = time.monotonic() - began + SLOW * len(server.queries)
        while sum(tally.at.values()) < n_kills:
            out = folder / f"{tally.n_files}.jsonl"
            for _ in range(4):  # so that a file is finished now and then
                if not run(out, server, random.uniform(0, usual / 2)):
                    break
                tally.at[where(out)] += 1
            else:
                run(out, server, None)
            tally.n_files += 1
            tally.n_wrong += out.read_bytes() != expected
        tally.n_requests = len(server.queries)
    return tally


def compare(source: Path, folder: Path) -> int:
    """Fetch all records of a file in both formats, and count the fields that are not the same."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        records = {(record := completed(json.loads(line)))["id"]: record for line in file}
    n_wrong = 0
    with serving(records.values()) as server:
        server.today = "2026-12-31"
        for prefix, lacking in LACKING.items():
            out = folder / f"{prefix}.jsonl"
            began = time.monotonic()
            fetch(["physics", "math"], out, since="2005", prefix=prefix, base_url=server.url, pause=0.0)
            seconds = time.monotonic() - began
            found = {(record := json.loads(line))["id"]: record for line in out.read_text().splitlines()}
            wrong: Counter[str] = Counter()
            for id, record in records.items():
                again = found.pop(id, {})
                wrong.update(name for name in record.keys() - lacking if record[name] != again.get(name))
                old, new = to_paper(record, Columns()), to_paper(again, Columns())
                wrong.update(f"Paper.{name}" for name in old.__slots__ if getattr(old, name) != getattr(new, name))
            print(f"{prefix}: {len(records):,} records in {seconds:.1f} s, lacking {', '.join(sorted(lacking))}")
            print(f"  not the same: {dict(wrong) or 'none'}; not asked for: {len(found)}")
            n_wrong += len(found) + sum(n for name, n in wrong.items() if name != UNKNOWN[prefix])
    return n_wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n_wrong = compare(options.records, Path(folder)) if options.records else 0
        tally = kill(Path(folder), options.kills, Random(options.seed))
    print(f"{sum(tally.at.values())} kills, {tally.n_files} files, {tally.n_requests} requests")
    for label, n in sorted(tally.at.items()):
        print(f"  killed {label}: {n}")
    print(f"  files that are not those of an undisturbed fetch: {tally.n_wrong}")
    sys.exit(1 if n_wrong or tally.n_wrong else 0)


if __name__ == "__main__":
    main()
