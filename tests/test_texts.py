import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsearch.corpus import to_text
from embedsearch.errors import OptionError
from embedsearch.records import Paper
from embedsearch.texts import Designation, Template, designations, fold_spelling

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"
PAPER = Paper(
    id="2301.01234",
    title="A title\n  in two lines",
    abstract=" We  find\n$M_\\odot$. ",
    authors=("A. B", "C. D"),
    categories=("astro-ph.GA",),
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{abstract}", "We find $M_\\odot$."),
        ("{title}\n{abstract}", "A title in two lines\nWe find $M_\\odot$."),
        (r"{title}\n\n{abstract}", "A title in two lines\n\nWe find $M_\\odot$."),
        ("{title} by {authors} [{categories}] {doi}", "A title in two lines by A. B, C. D [astro-ph.GA]"),
        ("{{{id}}}", "{2301.01234}"),
        ("{id}\udcff", "2301.01234?"),  # a byte that is no UTF-8, as a shell hands it over
        ("{doi}", ""),
    ],
)
def test_template(template, text):
    assert Template.parse(template).render(PAPER) == text


def test_the_default_template_is_the_abstract():
    assert Template.parse() == Template.parse("{abstract}")


@pytest.mark.parametrize(
    "template", ["{abstrct}", "{}", "{0}", "{title.upper}", "{title[0]}", "{title!r}", "{title:>9}"]
)
def test_template_with_unknown_fields(template):
    with pytest.raises(OptionError, match=r"known are title, abstract, authors, .*, doi, id$"):
        Template.parse(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "expected a field in the template, found none in ''; known are title, "),
        ("{{abstract}}", "expected a field in the template, found none"),
        ("{title", "expected a template such as {title} {abstract}, found '{title': expected '}' before end of string"),
        ("title}", "expected a template such as {title} {abstract}, found 'title}': Single '}'"),
    ],
)
def test_broken_templates(template, message):
    with pytest.raises(OptionError) as error:
        Template.parse(template)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("folded", "spellings"),
    [
        ("ngc1333", ["NGC1333", "NGC 1333", "NGC-1333", "ngc 1333", "NGC~1333"]),
        ("m31", ["M31", "M 31", "M-31", "Messier 31", "m31"]),
        ("ic348", ["IC 348", "IC348", "ic 348"]),
        ("hr8799", ["HR 8799", "HR8799", "HR 8799 b"]),
        ("hd209458", ["HD 209458", "HD209458", "HD 209458b", "HD 209458 b"]),
        ("gj1214", ["GJ 1214", "GJ1214b", "Gliese 1214"]),
        ("mrk421", ["Mrk 421", "Mrk421", "Markarian 421", "Mkn 421"]),
        ("abell2218", ["Abell 2218", "A2218", "abell2218", "ACO 2218"]),
        ("arp220", ["Arp 220", "Arp220", "ARP 220"]),
        ("3c273", ["3C 273", "3C273", "3c 273"]),
        ("wasp12", ["WASP-12", "WASP-12b", "WASP-12 b", "wasp 12"]),
        ("kepler186", ["Kepler-186 f", "Kepler-186f", "kepler 186"]),
        ("k2-18", ["K2-18", "K2-18b", "K2-18 b"]),
        ("trappist1", ["TRAPPIST-1", "TRAPPIST-1 e", "trappist-1e"]),
        ("hat-p11", ["HAT-P-11", "HAT-P-11b"]),
        ("toi700", ["TOI-700 d", "TOI 700", "TOI700"]),
        ("j0437m4715", ["PSR J0437-4715", "PSR J0437−4715", "J0437-4715", "J0437$-$4715"]),
        ("b1919p21", ["PSR B1919+21", "B1919+21"]),
        ("pks2155m304", ["PKS 2155-304", "PKS2155-304"]),
        ("gx339m4", ["GX 339-4", "GX339-4", "GX 339$-$4", "GX 339--4"]),
        ("cygx1", ["Cyg X-1", "Cygnus X-1"]),
        ("sgra", ["Sgr A*", "Sgr~A$^*$", "Sagittarius A*"]),
        ("gw150914", ["GW150914", "GW 150914"]),
        ("grb130427a", ["GRB 130427A", "GRB130427A"]),
        ("frb121102", ["FRB 121102", "FRB121102"]),
        ("sn1987a", ["SN 1987A", "SN1987A", "sn 1987a"]),
        ("at2018cow", ["AT2018cow", "AT 2018cow"]),
        ("halpha", [r"H$\alpha$", "Hα", "Halpha", "H-alpha", "H alpha", "halpha", "H{\\alpha}"]),
        ("hbeta", [r"H\b{eta}", "H$β$", "H-beta"]),
        ("lyalpha", ["Lyα", r"Ly-$\alpha$", "Lyman alpha", "Lyman-α", "Lya", "Ly-alpha"]),
        ("brgamma", [r"Br$\gamma$", "Brackett-gamma"]),
        ("oiii", ["[O III]", "[OIII]", "O III", "OIII", r"[O\,{\sc iii}]", "[O~III]", "oiii", "[o iii]"]),
        ("hi", ["H I", "HI", r"H\,{\sc i}", r"\ion{H}{I}", r"H\textsc{i}"]),
        ("hii", ["H II", "HII", "h ii", r"\ion{H}{2}"]),
        ("civ", ["C IV", "CIV", "C iv"]),
        ("ciii", ["C III]", "CIII]"]),
        ("siliconii", ["Si II", "SiII", r"Si~{\sc ii}"]),
        ("siii", ["S III", "[SIII]", "[S III]"]),
        ("nickelii", ["Ni II", "[NiII]"]),
        ("niii", ["N III", "NIII]"]),
    ],
)
def test_spellings_of_one_name(folded, spellings):
    token = folded.replace("-", "")
    for spelling in spellings:
        text = to_text(f"the source ({spelling}) and its")
        assert [found.folded for found in designations(text)] == [token], spelling


def test_spans():
    text = "in NGC 1333, M 31 and [O III]λ5007 of WASP-12 b."
    assert designations(text) == [
        Designation(3, 11, "ngc1333"),
        Designation(13, 17, "m31"),
        Designation(22, 29, "oiii"),
        Designation(38, 47, "wasp12"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "N I have seen", "A I driven search", "a 95% CI of 3", "SI units", "a CV of type U", "hi-fi sets",
        "M 500 and M 1.5", "an M5.5 dwarf", "24 hr 30 min", "A 300 pc disc", "at 2018 level", "Type II and III",
        "[Fe/H] and [Ni/Fe] and [Si]", "in 10 M and 3C", "MNGC1333", "the K2 18 day light curve", "epic 3 hours",
        "SN Ia and SN II", "a mean of 1.5 m 31 s",
    ],
)  # fmt: skip
def test_other_words_are_left_alone(text):
    assert designations(text) == []


@given(st.text(alphabet="NGCMHOIiAXVSJP [](-–+*.αb0123456789", max_size=30))
def test_folding_is_sound(text):
    found = designations(text)
    assert all(one.end <= after.start for one, after in pairwise(found))
    for one in found:
        assert 0 <= one.start < one.end <= len(text)
        assert one.folded.isascii()
        assert one.folded.isalnum()
        assert one.folded == one.folded.lower()


@pytest.mark.skipif(not REAL.exists(), reason="the real records are not here")
def test_real_designations_occur_in_several_spellings():
    spellings = defaultdict(set)
    with gzip.open(REAL) as lines:
        for line in lines:
            record = json.loads(line)
            if any(name in record["abstract"] for name in ("NGC", "M3", "M 3", "IC")):
                text = to_text(record["abstract"])
                for found in designations(text):
                    spellings[found.folded].add(text[found.start : found.end])
    assert {"NGC1333", "NGC 1333"} <= spellings["ngc1333"]
    assert {"M31", "M 31"} <= spellings["m31"]
    assert {"IC348", "IC 348"} <= spellings["ic348"]
    assert len(spellings) > 300


@pytest.mark.parametrize(
    ("british", "american"),
    [
        ("magnetised", "magnetized"),
        ("Normalisations", "Normalizations"),
        ("analysed", "analyzed"),
        ("behavioural colours", "behavioral colors"),
        ("centred on the centres", "centered on the centers"),
        ("grey discs", "gray disks"),
    ],
)
def test_spelling_is_folded(british: str, american: str) -> None:
    assert fold_spelling(british) == fold_spelling(american) == american


@pytest.mark.parametrize("text", ["rise", "four hours", "our tour", "disco", "core", "analysis"])
def test_words_that_only_look_british(text: str) -> None:
    assert fold_spelling(text) == text
