import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsearch.corpus import PaperId, content_id, doi_of, is_arxiv_id, month_of, normal_id, sample_key


@pytest.mark.parametrize(
    ("text", "id", "version"),
    [
        ("2301.01234", "2301.01234", None),
        ("  2301.01234v2\n", "2301.01234", 2),
        ("arXiv:2301.01234v12", "2301.01234", 12),
        ("ARXIV: 0704.0010", "0704.0010", None),
        ("arXiv:2301.01234v1 [astro-ph.GA]", "2301.01234", 1),
        ("https://arxiv.org/abs/2301.01234", "2301.01234", None),
        ("http://www.arxiv.org/pdf/2301.01234v3.pdf", "2301.01234", 3),
        ("https://export.arxiv.org/abs/astro-ph/9906432?context=astro-ph#top", "astro-ph/9906432", None),
        ("arxiv.org/html/2301.01234v1/", "2301.01234", 1),
        ("10.48550/arXiv.2301.01234", "2301.01234", None),
        ("https://doi.org/10.48550/ARXIV.2301.01234", "2301.01234", None),
        ("doi:10.48550/arXiv.hep-th/9901001", "hep-th/9901001", None),
        ("math.GT/0309136", "math/0309136", None),
        ("astro-ph/9906432v2", "astro-ph/9906432", 2),
        ("Astro-Ph/9906432", "astro-ph/9906432", None),
        # not arXiv's: kept
        ("2301.1", "2301.1", None),
        ("2313.01234", "2313.01234", None),
        ("arXiv:something", "arXiv:something", None),
        (" bibcode 2023A&A...670A..1X ", "bibcode 2023A&A...670A..1X", None),
        ("https://example.org/abs/2301.01234", "https://example.org/abs/2301.01234", None),
        ("", "", None),
    ],
)
def test_normal_id(text, id, version):
    assert normal_id(text) == PaperId(id, version)


@given(st.text())
def test_normal_id_is_idempotent(text):
    once = normal_id(text).id
    assert normal_id(once).id == once


@given(st.from_regex(r"(arXiv:)?(\d{4}\.\d{4,5}|astro-ph/\d{7})(v\d{1,5})?", fullmatch=True))
def test_normal_id_of_what_looks_like_an_id_is_idempotent(text):
    once = normal_id(text).id
    assert normal_id(once).id == once


@pytest.mark.parametrize(
    ("id", "month"),
    [
        ("2301.01234", "2023-01"),
        ("0704.0010", "2007-04"),
        ("astro-ph/9906432", "1999-06"),
        ("astro-ph/0703999", "2007-03"),
        ("hep-th/9108001", "1991-08"),
        ("0703.0010", None),
        ("2300.01234", None),
        ("astro-ph/5006432", None),
        ("astro-ph/9913432", None),
        ("2301.01234v1", None),
        ("arXiv:2301.01234", None),
        ("text:0123456789abcdef", None),
        ("", None),
    ],
)
def test_month_of(id, month):
    assert month_of(id) == month
    assert is_arxiv_id(id) is (month is not None)


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("10.1051/0004-6361/202346789", "10.1051/0004-6361/202346789"),
        (" https://doi.org/10.3847/1538-4357/AC1234 ", "10.3847/1538-4357/ac1234"),
        ("http://dx.doi.org/10.1093/mnras/stx1", "10.1093/mnras/stx1"),
        ("doi: 10.1093/mnras/stx1", "10.1093/mnras/stx1"),
        ("10.48550/arXiv.2301.01234", None),
        ("2301.01234", None),
        ("10.5 kpc", None),
    ],
)
def test_doi_of(text, doi):
    assert doi_of(text) == doi


def test_content_id_depends_on_the_words_alone():
    assert content_id("A title", "Some\n text") == content_id("A  title", "Some text")
    assert content_id("A", "title text") != content_id("A title", "text")
    assert content_id("A title", "Some text") == "text:f1d0f3314d3969ab"  # sha256sum of "A title\0Some text"


def test_sample_key_is_the_same_everywhere():
    assert sample_key("2301.01234", 0) == 5518341335936411448  # sha256sum of "0:2301.01234", first 63 bits
    assert sample_key("2301.01234", 1) != sample_key("2301.01234", 0)
    assert all(0 <= sample_key(str(n), 7) < 2**63 for n in range(1000))
