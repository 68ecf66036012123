import gzip
import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsearch.corpus import to_text

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        # accents and special letters
        (r"Schr\"odinger", "Schrödinger"),
        (r"na\"{\i}ve Alfv\'en", "naïve Alfvén"),
        (r"S\o rensen, \v{C}erenkov, \c{c}, \AA, 5 \r{A}", "Sørensen, Čerenkov, ç, Å, 5 Å"),
        (r"M\ériot", "Mériot"),
        # math
        (r"$\Lambda$CDM and H$\alpha$", "ΛCDM and Hα"),
        (r"$M_\odot$, 60$M_{\odot}$", "M⊙, 60 M⊙"),
        (r"$10^{4}$, $10^4$ cm$^{-3}$, CO$_2$, $^{13}$CO", "10⁴, 10⁴ cm⁻³, CO₂, ¹³CO"),
        (r"$\sim$90, $\sim 90$, $z \sim 2$, $z\approx2$", "~90, ~90, z ~ 2, z ≈ 2"),
        (r"$T_{\rm eff}$, $e^{-t/\tau}$", "T_eff, e^(-t/τ)"),
        (r"$1.26^{+0.12}_{-0.10}\times10^{4}\,{\rm km\,s^{-1}}$", "1.26 +0.12/-0.10×10⁴ km s⁻¹"),
        (r"$\frac{a+b}{c}$, $\sqrt{2}$, $\dot{M}$, $\bar{\rho}_{x}$", "(a+b)/c, √2, Ṁ, ρ̄_x"),
        (r"\(\mathcal{O}(10)\) and \[x\] and $$y$$", "O(10) and x and y"),
        (r"$M_{\text{$H_2$}}$", "M_H₂"),
        (r"$180^\circ$, 3{\deg}, $0.3''$, $2^{\prime\prime}$, 34\farcs5", "180°, 3°, 0.3″, 2″, 34″.5"),
        (r"($ \rm FUV \leq 2$), 5$\,$kpc, 50$~\rm cm$", "(FUV ≤ 2), 5 kpc, 50 cm"),
        # commands
        (r"\emph{x}, {\it Gaia}, \textbf{a \textit{b}}", "x, Gaia, a b"),
        (r"[O\,{\sc iii}], He~\textsc{ii}, \ion{C}{4}, \ion{H}{i}", "[O III], He II, C IV, H I"),
        (r"\SI{5}{\micron} and \num{8192}", "5 μm and 8192"),
        (r"the \gmr colour, 30\kms", "the gmr colour, 30 km s⁻¹"),
        (r"\href{https://a.b/~c_d}{this page}, \url{https://a.b/x_1}", "this page (https://a.b/~c_d), https://a.b/x_1"),
        (r"as in \cite{Muench2007}", "as in [Muench2007]"),
        # what outside of math has become in arXiv's records
        (r"H\b{eta}, H{beta}, Pa{\alpha}", "Hβ, Hβ, Paα"),
        # typography
        ("``quotes'' and `single' and `Oumuamua's", "“quotes” and ‘single’ and `Oumuamua's"),
        ("30--120 kpc --- a -- b", "30–120 kpc — a – b"),
        ("Fig.~2, 10~kpc, NGC~1333, He~I", "Fig. 2, 10 kpc, NGC 1333, He I"),
        ("z~2, ~30, <~ 5, T_eff~3000 K, mass~1.5", "z~2, ~30, <~ 5, T_eff~3000 K, mass~1.5"),
        ("  two\n lines\tand  spaces ", "two lines and spaces"),
        ("NUL\0 and \x1b[31m escape", "NUL and [31m escape"),
        ("e\u0301", "é"),
        # ordinary text stays
        ("50% of #1 A&A_x ^ y", "50% of #1 A&A_x ^ y"),
        (r"50\% of \#1 A\&A\_x \{a\}", "50% of #1 A&A_x {a}"),
        ("it costs $5 and then $10 more", "it costs $5 and then $10 more"),
        (r"costs \$5 and \$10", "costs $5 and $10"),
        ("low-cost ($1000) modules and 5% of $z=2$", "low-cost ($1000) modules and 5% of z=2"),
        (r'{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        # malformed: as it is
        (r"a $ b", "a $ b"),
        ("ends in \\ ", "ends in \\"),
        (r"$\frac{a$ b", r"$\frac{a$ b"),
        ("", ""),
    ],
)  # fmt: skip
def test_to_text(latex, text):
    assert to_text(latex) == text


@given(st.text())
def test_to_text_never_raises_and_is_clean(text):
    check_clean(to_text(text))


PIECES = [
    *"\\${}^_~`'%&#[]()a1é ",
    "{}",
    "--",
    "\\rm",
    "\\frac",
    "\\'",
    "\\text{",
    "\\sqrt[",
    "\\begin{a}",
    "\\SI{",
    "\\ion",
]
PIECES += ["\\unicode{x110000}", "\\verb|", "\\unicode{xD800}", "\\unicode{7}"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_to_text_never_raises_on_broken_latex(pieces):
    check_clean(to_text("".join(pieces)))


def check_clean(text):
    assert text == unicodedata.normalize("NFC", " ".join(text.split()))
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


@pytest.mark.parametrize("unit", ["{", "\\(", "$", "\\text{", "$\\text{a", "^{", "\\'", "``", "~", "\\a[", "{a{a"])
def test_no_text_takes_long(unit):
    start = time.perf_counter()
    to_text(unit * (20_000 // len(unit)))
    assert time.perf_counter() - start < 5


def test_a_command_without_its_argument_is_no_message(caplog):
    assert to_text(r"a $\bra\bra$").startswith("a ")
    assert caplog.records == []


@pytest.mark.skipif(not REAL.exists(), reason="the real records are not here")
def test_real_abstracts_lose_their_latex():
    with gzip.open(REAL) as lines:
        texts = [to_text(json.loads(line)["abstract"]) for _, line in zip(range(1500), lines, strict=False)]
    assert sum("\\" in text or "$" in text for text in texts) <= 10
