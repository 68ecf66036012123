"""Formulas and prose of the page: what is shown, what gets through, where a sentence stands."""

from __future__ import annotations

import random
import re

import pytest
from latex2mathml.converter import convert
from page_papers import Elements

from embedsearch.corpus import to_text
from embedsearch.server.page.latex import MAX_DEPTH, MAX_LENGTH
from embedsearch.server.page.math import formula
from embedsearch.server.page.prose import prose


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"\Lambda", '<math><mi mathvariant="normal">Λ</mi></math>'),
        ("a/b", '<math><mrow><mi>a</mi><mo lspace="0em" rspace="0em">/</mo><mi>b</mi></mrow></math>'),
        ("10^4", "<math><msup><mn>10</mn><mn>4</mn></msup></math>"),
        (r"M_\odot", "<math><msub><mi>M</mi><mo>⊙</mo></msub></math>"),
        (r"\Msun", "<math><msub><mi>M</mi><mo>⊙</mo></msub></math>"),
        (r"T_{\rm eff}", "<math><msub><mi>T</mi><mi>eff</mi></msub></math>"),
        (r"\mathbb{R}", "<math><mi>ℝ</mi></math>"),
        (r"\mathscr{E}", "<math><mi>ℰ</mi></math>"),
        (r"\bm{x}", "<math><mi>𝒙</mi></math>"),
        ("10,000", "<math><mtext>10,000</mtext></math>"),
        (r"\sim", '<math><mo lspace="0em" rspace="0em">∼</mo></math>'),
        (r"x=-1", '<math><mrow><mi>x</mi><mo>=</mo><mo form="prefix">−</mo><mn>1</mn></mrow></math>'),
        (r"a-1", "<math><mrow><mi>a</mi><mo>−</mo><mn>1</mn></mrow></math>"),
    ],
)
def test_a_formula_is_mathml(latex: str, shown: str) -> None:
    assert formula(latex) == shown


@pytest.mark.parametrize(
    "latex", [r"\lesssim 5\kms", r"\Teff", r"12\fdg5", r"5\farcs2", r"\ion{O}{iii}", r"\gsim 3\Mpc"]
)
def test_macros_of_astronomy_leave_no_command(latex: str) -> None:
    shown = formula(latex)
    assert shown.startswith("<math>")
    assert "\\" not in shown


@pytest.mark.parametrize(
    "latex", [r"\frac{1}{", "x^{", r"}\sim 3", "{" * (MAX_DEPTH + 1) + "x" + "}" * (MAX_DEPTH + 1)]
)
def test_a_broken_formula_shows_its_source(latex: str) -> None:
    assert formula(latex) == f'<code class="formula">{latex}</code>'


def test_a_long_formula_shows_its_source() -> None:
    assert "<math>" in formula("x" * MAX_LENGTH)
    assert formula("x" * (MAX_LENGTH + 1)).startswith("<code")


@pytest.mark.parametrize(
    "definition",
    [
        r"\def\a{\b\b}\a",
        r"\def1{2 2 2}1",
        r"\newcommand{\a}{x}\a",
        r"\renewcommand{\a}{x}\a",
        r"\providecommand{\a}{x}\a",
        r"\newenvironment{a}{x x x}{}\begin{a}\end{a}",
        r"\DeclareMathOperator{\a}{x}\a",
        r"\let\a=b",
    ],
)
def test_a_formula_defines_nothing(definition: str) -> None:
    assert not formula(definition).startswith("<math>")


HARMLESS = {"math", "mi", "mo", "mn", "mtext", "mspace", "mrow", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup"}
HARMLESS |= {"munder", "mover", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "code", "span"}
HARMLESS |= {"mmultiscripts", "mprescripts", "none"}


def is_harmless(html: str) -> bool:
    names = {"class", "id", "style", "href", "src", "onclick", "onerror", "mathcolor", "mathbackground", "xlink:href"}
    return all(
        name in HARMLESS
        and (attributes.get("class") in (None, "formula", "long"))
        and not (set(attributes) - {"class"}) & names
        for name, attributes in Elements(html).found
    )


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{<script>alert(1)</script>}",
        r"\mbox{<img src=x onerror=alert(1)>}",
        r"\operatorname{<b>}x",
        r"\href{javascript:alert(1)}{x}",
        r"\style{position:fixed}{x}",
        r"\class{chips}{x}",
        r"\color{red}x",
        r"\unicode{x3c}script\unicode{x3e}",
        r"\text{&lt;script&gt;}",
        r"\text{&#60;script&#62;}",
        r"\left<script\right>",
        r'\rule{1em}{"1em onclick=alert(1)}',
        r"<script>alert(1)</script>",
        r"x^{<script>}",
        r"\frac{<script>",
        r"\begin{array}{l onclick=1}x\end{array}",
        r"\hspace{99em}x",
        r"\sideset{<b>}{</b>}\sum",
        r"\verb|<script>|",
    ],
)
def test_no_markup_gets_through_a_formula(latex: str) -> None:
    shown = formula(latex)
    assert is_harmless(shown), shown
    assert "99em" not in shown


@pytest.mark.parametrize(
    "latex",
    [
        r"\hspace{-2em}" * 2 + r"\text{PDF}",
        r"\!" * 100 + "x",
        r"\raisebox{2em}{\raisebox{2em}{x}}",
        r"\raisebox{-9em}{x}",
        r"\mspace{-90mu}x",
    ],
)
def test_nothing_is_pushed_over_what_stands_beside_it(latex: str) -> None:
    shown = formula(latex)
    ems = [float(found) for found in re.findall(r'"([+-][\d.]+)e[mx]"', shown)]
    assert sum(map(abs, ems)) <= 3


def test_what_is_usual_is_not_too_far() -> None:
    assert formula(r"a\!b\!c\,d\;e\quad f\negthinspace g").startswith("<math>")


def test_a_long_formula_can_be_moved() -> None:
    assert formula("+".join("abcdefghijklmn")).startswith('<span class="long"><math>')
    assert formula(r"\langle\mathrm{Fe}/\mathrm{H}\rangle = -1.23\pm 0.05").startswith("<math>")


def test_the_library_s_own_writer_would_not_do() -> None:
    assert not is_harmless(convert(r"\text{<script>alert(1)</script>}"))
    assert not is_harmless(convert(r"\href{javascript:alert(1)}{x}"))


def test_no_markup_gets_through_whatever_is_strung_together() -> None:
    parts = [
        "\\text{", "}", "<script>", "\\frac", "{", "\\href", "\"'", "^", "_", "\\left(", "\\right)", "&lt;", "&#x3c;",
        "x", "\\begin{matrix}", "\\end{matrix}", "\\\\", "\\operatorname{", "\\mathrm", "\\color", "\\unicode{x3c}",
        "&",
    ]  # fmt: skip
    chance = random.Random(5)
    for _ in range(1500):
        latex = "".join(chance.choices(parts, k=chance.randint(1, 12)))
        assert is_harmless(formula(latex)), latex


def test_prose_shows_no_dollar_sign_of_a_formula() -> None:
    found = prose(r"In $\Lambda$CDM, H$\alpha$ \(x\), \[y\], $$z$$, \ensuremath{w} and $^{12}$CO")
    assert sum(run.math is not None for run in found.runs) == 7
    assert "$" not in found.html()
    assert "\\" not in found.html()
    assert found.html().count('display="block"') == 2


@pytest.mark.parametrize(
    "text", ["It costs $5 and then $10 in all", r"It costs \$5", "a lone $ sign", "100 billion$, and"]
)
def test_a_dollar_may_be_a_currency(text: str) -> None:
    assert prose(text).html() == text.replace("\\", "")


def test_prose_decodes_what_is_between_formulas() -> None:
    html = prose(r"Schr\"odinger's {\it XMM} field~$x$ at 3--4 \% ``quoted''").html()
    assert html == "Schrödinger&#39;s XMM field <math><mi>x</mi></math> at 3–4 % “quoted”"


@pytest.mark.parametrize(
    "latex",
    [
        r"A mass of 10$^{4}$ M$_\odot$ at $z~\sim 6$; {\it see $x$}. An {\em end} of $1.3^{+0.2}_{-0.1}$.",
        r"Costs of $5 million and $x=3$; \textbf{bold $\alpha$} and $5 or $6.",
        r"\emph{a $b$ c $d$ e} $f$",
        "no math at all",
        "$x",
    ],
)
def test_prose_reads_as_the_decoded_text(latex: str) -> None:
    assert prose(latex).text.split() == to_text(latex).split()


def test_a_sentence_is_found_with_its_formulas() -> None:
    latex = r"One is $a<b$ here. Two has $10^{4}\,M_\odot$ in it. Three."
    found = prose(latex)
    place = found.find(to_text(r"Two has $10^{4}\,M_\odot$ in it."))
    assert place is not None
    html = found.html(*place)
    assert html.startswith("Two has <math>")
    assert html.endswith("</math> in it.")
    assert found.html(0, place[0]) + html + found.html(place[1]) == found.html()


def test_a_sentence_that_is_not_there_is_not_found() -> None:
    assert prose("One. Two.").find("Four.") is None
    assert prose("One. Two.").find("") is None


def test_a_cut_falls_between_words() -> None:
    found = prose("alpha beta gamma")
    assert found.text[: found.cut(8)] == "alpha"
    assert found.text[: found.cut(10)] == "alpha beta"
    assert found.cut(100) == 16


def test_a_formula_is_never_cut() -> None:
    found = prose(r"a $10^{4}$ b")
    start = found.text.index("⁴")
    assert found.html(start, start + 1) == "<math><msup><mn>10</mn><mn>4</mn></msup></math>"


def test_marks_that_nobody_sees_are_taken_out() -> None:
    assert prose("a\u202eb\u200bc\ufeffd\u2067e\u00adf\x00g").html() == "abcdefg"
    assert prose("$\\text{a\u202eb}$").html() == "<math><mtext>ab</mtext></math>"
    assert prose("\U000f0000x $y$").html() == "x <math><mi>y</mi></math>"


@pytest.mark.parametrize(
    "text", ["$" * 5000, "\\(" * 3000, "{" * 5000, "\\ensuremath{" * 1000, "$x$" * 6000, "$a " * 3000]
)
def test_no_text_is_too_strange(text: str) -> None:
    prose(text).html()
