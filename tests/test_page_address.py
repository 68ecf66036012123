"""The address of the page holds its whole state."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from starlette.datastructures import QueryParams

from embedsearch.errors import OptionError, OverLimit
from embedsearch.search import Mode, Sort
from embedsearch.server.options import Limits
from embedsearch.server.page.address import Address, read_address


@pytest.mark.parametrize(
    "address",
    [
        Address(),
        Address(q="a b&c=d"),
        Address(like=("astro-ph/0601001",)),
        Address(
            q="ä \u202e",
            mode=Mode.DENSE,
            categories=("astro-ph.GA", "gr-qc"),
            since="2001",
            until="2002-03",
            authors=("A", "B"),
            sort=Sort.DATE,
            k=25,
        ),
    ],
)
def test_an_address_is_read_as_it_was_written(address: Address) -> None:
    assert read_address(QueryParams(urlsplit(address.href()).query), Limits()) == address


def test_a_smaller_limit_is_kept() -> None:
    assert read_address(QueryParams("q=x"), Limits(k=5)).k == 5
    with pytest.raises(OverLimit, match="from 1 to 5, found 6"):
        read_address(QueryParams("q=x&k=6"), Limits(k=5))
    with pytest.raises(OptionError, match="expected k from 1 to 5, found '٣'"):
        read_address(QueryParams("q=x&k=٣"), Limits(k=5))
