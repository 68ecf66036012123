"""What all tests share. No test reaches the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("EMBEDSEARCH_INDEX", None)

REAL_DATA = Path(__file__).parents[2] / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """10,000 real arXiv records; the test is skipped where they are not."""
    if not REAL_DATA.exists():
        pytest.skip("needs the file of real abstracts")
    return REAL_DATA
