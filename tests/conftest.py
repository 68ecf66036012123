"""What all tests share. No test reaches the network."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("EMBEDSEARCH_INDEX", None)

REAL_DATA = Path(__file__).parents[2] / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"


@pytest.fixture(autouse=True)
def messages() -> Iterator[None]:
    """-v and -q last as long as a process, also where a test only parses them."""
    logger = logging.getLogger("embedsearch")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """10,000 real arXiv records; the test is skipped where they are not."""
    if not REAL_DATA.exists():
        pytest.skip("needs the file of real abstracts")
    return REAL_DATA


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For passes so small that threads only wait for one another, where other tests run beside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def page_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that the tests of the page look at."""
    from page_papers import make_page_store

    return make_page_store(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page_url(page_index: Path) -> Iterator[str]:
    """A server for it."""
    from serving import in_process

    with in_process(page_index) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium. Of a module: while it runs, asyncio's loop is Playwright's, and no other test could have one."""
    from browsing import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script."""
    from browsing import axe_script

    script = axe_script()
    if script is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    return script


@pytest.fixture
def page(browser: Any, page_url: str) -> Iterator[Any]:
    """The start page in it."""
    from browsing import opened

    with opened(browser, page_url) as page:
        page.goto(page_url)
        yield page
