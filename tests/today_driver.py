"""`embedsearch today` in a process of its own, as cron starts it, with the fake encoder in the place of a model.

    python today_driver.py ARGUMENT...

EMBEDSEARCH_TEST_DAY is the day that it is; with EMBEDSEARCH_TEST_HOLD the process waits for that file before it adds.
"""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path
from unittest import mock

from fake_encoder import FakeEncoder

import embedsearch.fetch.days
import embedsearch.fetch.harvest
import embedsearch.fetch.server
import embedsearch.update
from embedsearch.cli import add as add_module
from embedsearch.cli.main import main

add = embedsearch.update.add


def slow_add(*arguments: object, **options: object) -> object:
    """Adds when it may."""
    hold = os.environ.get("EMBEDSEARCH_TEST_HOLD")
    if hold:
        Path(hold).with_suffix(".waiting").touch()
    while hold and not Path(hold).exists():
        time.sleep(0.01)
    return add(*arguments, **options)  # type: ignore[arg-type]


if __name__ == "__main__":
    day = date.fromisoformat(os.environ["EMBEDSEARCH_TEST_DAY"])
    with (
        mock.patch.object(add_module, "service_of", return_value=FakeEncoder()),
        mock.patch.object(embedsearch.fetch.days, "utc_today", return_value=day),
        mock.patch.object(embedsearch.fetch.harvest, "utc_today", return_value=day),
        mock.patch.object(embedsearch.fetch.server, "PAUSE", 0.0),
        mock.patch.object(embedsearch.update, "add", slow_add),
    ):
        main()
