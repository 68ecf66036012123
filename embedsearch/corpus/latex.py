"""The text that people read and keywords search: LaTeX's accents, symbols and simple math as Unicode."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

# Possessive ("*+"): no text makes these search for long.
GROUP: Final = r"\{(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.)*+\})*+\})*+\}"
FORMULA: Final = r"""
      \$\$(?P<display>(?:\\.|[^$\\])++)\$\$ | \$(?P<inline>(?:\\(?:text\w*|mbox)\{[^{}]*\}|\\.|[^$\\])++)\$
    | \\\((?P<round>(?:[^\\]|\\[^()])++)\\\) | \\\[(?P<square>(?:[^\\]|\\[^][])++)\\\]
    """
"""What stands between the signs of math, as a verbose pattern."""
_GREEK: Final = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "lambda": "λ", "mu": "μ", "sigma": "σ"}
_OPTIONS: Final = r"(?:\[[^][{}]{0,200}\]){0,2}"
# One piece of LaTeX. What lies between two pieces is ordinary text, and stays as it is.
_PIECE: Final = re.compile(
    rf"""
      {FORMULA}
    | \\verb(?P<bar>[|!+])(?P<verbatim>[^|!+]*)(?P=bar)
    | (?P<link>\\(?:url|href)\{{(?P<url>[^{{}}]*)\}}(?P<caption>{GROUP})?)
    | (?P<greek>\\b\{{eta\}}|\{{(?:{"|".join(_GREEK)})\}})
    | (?P<accent>\\["'`^~=.](?:{GROUP}|\ ?\\[ij](?![A-Za-z])|\ ?[A-Za-z])
        | \\[uvHcdbkrt](?:{GROUP}|\ (?:\\[ij](?![A-Za-z])|[A-Za-z])|\\[ij](?![A-Za-z])))
    | (?P<letter>\\(?:o|O|l|L|ae|AE|oe|OE|ss|aa|i|j)(?![A-Za-z])(?:\{{\}}|\ (?=[a-z])|))
    | (?P<command>\\[A-Za-z]+\*?(?:{_OPTIONS}{GROUP})*)
    | (?P<escape>\\[^A-Za-z])
    | (?P<script>[_^]{GROUP})
    | (?P<group>{GROUP})
    """,
    re.VERBOSE,
)
_ESCAPES: Final = {**{f"\\{mark}": " " for mark in ",;: >\\"}, **{f"\\{mark}": "" for mark in "!-/"}}
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ue000-\ue011]")
_UNESCAPED: Final = re.compile(r"(?<!\\)([%#&])")
# A command ends where ASCII letters end; the parser would take "\leqα" for one name.
_GLUED: Final = re.compile(r"(\\[A-Za-z]+)(?=[^\W\d_A-Za-z])")
# "{\sc iii}", "\textsc{iii}" and "\textsc{Hi}" are ionisation stages in small capitals.
_SMALL_ROMAN: Final = re.compile(
    r"(\\textsc\s*\{\s*|\\(?:sc|scshape|small|scriptsize|footnotesize|tiny)\s+)"
    r"((?:H|He|C|N|O|Ne|Na|Mg|Al|Si|S|Ar|Ca|Fe)?~?)([ivx]{1,5})(?=\s*\})"
)
# A tie is a space, unless it stands for "about", as in z~2, T_eff~3000, 9.6e3~10^4 and (after a space) ~30.
_TIE: Final = re.compile(
    r"(?<=[^\s\\(<>=/~0-9])(?<![^A-Za-z\\][A-Za-z])(?<!^[A-Za-z])~(?=[^\s~])(?![-+]?\d+(?:\.\d|e\d|\^|%))(?!-)"
    r"|(?<=\d)~(?=[^\s~\d])|(?<=[A-Za-z])~(?=[A-Z\\\[])|(?<=[A-Za-z.,])~(?=[a-z])"
)
_SUBSCRIPTED_TIE: Final = re.compile(r"(_\w+)~(?=[\d.])")
_SOLAR: Final = re.compile(r"(?<=[\d⁰¹²³⁴-⁹])([MLRZ][⊙⊕])")
_PROSE: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]?[a-z]{2,}(?![A-Za-z])")
_QUOTED: Final = re.compile(r"(?<!`)`([^`'\n]{1,60})'(?![\w'])")


def to_text(latex: str) -> str:
    r"""The text of an abstract or a title, without LaTeX.

    `Schr\"odinger` is Schrödinger, `H$\alpha$` is Hα, `$10^{4}\,M_\odot$` is 10⁴ M⊙, ``quotes'' are “quotes” and `~`
    is a space where LaTeX means one. Commands that nobody knows are shown by their name, LaTeX that does not parse
    as it stands. White space is folded, control characters are left out, the result is NFC. Never raises.
    """
    text = " ".join(_UNPRINTABLE.sub("", latex).split())
    if any(mark in text for mark in ("\\", "$", "{", "~", "`", "--")):
        decoded = _UNPRINTABLE.sub("", _pieces(_ties(text)))  # again: \unicode can name any character
        text = _SOLAR.sub(r" \1", " ".join(decoded.split()))
    return unicodedata.normalize("NFC", text)


def _ties(text: str) -> str:
    if "~" not in text:
        return text
    # "\x01" keeps "about" out of reach: control characters were taken out before. "\\ " is a space in math, too.
    return _TIE.sub(r"\\ ", _SUBSCRIPTED_TIE.sub("\\1\x01", text)).replace("\x01", "~")


def _pieces(text: str) -> str:
    is_latex = "\\" in text or "$" in text
    quoted = "``" in text
    done: list[str] = []
    start = 0
    while found := _PIECE.search(text, start):
        done.append(_plain(text[start : found.start()], quoted=quoted))
        math = found["display"] or found["inline"] or found["round"] or found["square"]
        if math is not None and found["inline"] and is_prose(math, text[found.end() : found.end() + 1]):
            done.append("$")  # a price, or a math sign that has lost its partner
            start = found.start() + 1
            continue
        done.append(_math(math) if math is not None else _piece(found, is_latex=is_latex))
        start = found.end()
    done.append(_plain(text[start:], quoted=quoted))
    return "".join(done)


def is_prose(inside: str, after: str) -> bool:
    """Whether two dollar signs stand around ordinary words ("$5 and then $10") and not around math."""
    if inside[0].isdigit() and inside[-1] in " (-" and after.isdigit():
        return True
    return not any(mark in inside for mark in "\\^_{~") and len(_PROSE.findall(inside)) >= 3


def _plain(text: str, *, quoted: bool) -> str:
    if quoted:
        text = re.sub(r"(?<!\d)''", "”", text.replace("``", "“"))
    if "`" in text:
        text = _QUOTED.sub("‘\\1’", text)
    if "--" in text:
        text = re.sub(r"(?<!-)--(?!-)", "–", re.sub(r"(?<!-)---(?!-)", "—", text))
    return text


def _piece(found: re.Match[str], *, is_latex: bool) -> str:
    source = found[0]
    if found["escape"]:
        return _ESCAPES.get(source, source[1:] if source[1:] in "%&#$_{}~^" or source[1:].isalpha() else source)
    if found["verbatim"] is not None:
        return found["verbatim"]
    if found["greek"]:  # what "\beta" outside of math has become in arXiv's records: "\b{eta}", "H{beta}"
        return _GREEK[source[1:-1]] if source.startswith("{") else "β"
    if found["link"]:
        url = found["url"].replace("\\", "")
        caption = to_text(found["caption"][1:-1]) if found["caption"] else ""
        return f"{caption} ({url})" if caption and caption != url else url
    if found["group"] and not is_latex:
        return source  # braces of some other language
    return _text(source)


@lru_cache(maxsize=20_000)
def _text(source: str) -> str:
    decoded = _decode(source)
    if decoded is None:
        start = source.find("{") if source.startswith("\\") else -1
        # An argument is missing (\SI{28787}): what is there is still what the author says.
        return to_text(source[start + 1 : -1]) if start > 0 and source.endswith("}") else source
    return _plain(_without_braces(_scripts(decoded, single=False)), quoted=True)


@lru_cache(maxsize=50_000)
def _math(source: str) -> str:
    primed = source.strip().replace("''", "″").replace("'", "′")
    decoded = _decode(primed, math=True) if "\\" in source or "~" in source else primed
    if decoded is None:
        return f"${source}$"
    return _tidy(_without_braces(_scripts(decoded.translate(_PLAIN_LETTERS), single=True)))


_PLAIN_LETTERS: Final = str.maketrans({"−": "-", "∼": "~", "ϕ": "φ", "ϵ": "ε", "∗": "*", "\xa0": " ", "∘": "°"})


def _decode(source: str, *, math: bool = False) -> str | None:
    # Imported when the first LaTeX is met: a corpus of plain text needs none of it.
    from pylatexenc.latexwalker import LatexWalkerError

    from embedsearch.corpus import macros

    source = _GLUED.sub(r"\1 ", source)
    prepared = _UNESCAPED.sub(r"\\\1", _SMALL_ROMAN.sub(lambda m: m[1] + m[2] + m[3].upper(), source))
    try:
        return macros.decode_math(prepared) if math else macros.decode(prepared)
    except (LatexWalkerError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
        # The parser gives up by its own error, its formatters by whatever a missing argument leads to.
        return None


# ---- superscripts and subscripts -------------------------------------------------------------------------------------

_UP: Final = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_DOWN: Final = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")
_LOOSE: Final = {"^": "\ue000", "_": "\ue001"}  # marks that stay, held so that they are not looked at again
_INNERMOST: Final = re.compile(r"(?:([\^_])\s*)?\{([^{}]*)\}")
_SINGLE: Final = re.compile(r"([\^_])\s*([^\s\^_{}])")
_BOUNDS: Final = re.compile(
    r"\^\s*\{\s*\+\s*([\d.,]+)\s*\}\s*_\s*\{\s*[-−]\s*([\d.,]+)\s*\}"
    r"|_\s*\{\s*[-−]\s*([\d.,]+)\s*\}\s*\^\s*\{\s*\+\s*([\d.,]+)\s*\}"
)


def _scripts(text: str, *, single: bool) -> str:
    """10^{-4} as 10⁻⁴, T_{eff} as T_eff, 1.3^{+0.2}_{-0.1} as 1.3 +0.2/-0.1, and no braces but in M_{a}^{b}'s place."""
    if "^" not in text and "_" not in text and "{" not in text:
        return text
    text = _BOUNDS.sub(lambda m: f" +{m[1] or m[4]}/-{m[2] or m[3]}", text)
    for _ in range(20):  # from the inside out; deeper nesting is nobody's abstract
        text, count = _INNERMOST.subn(lambda m: _script(m[1], m[2].strip()) if m[1] else m[2], text)
        if not count:
            break
    if single:
        text = _SINGLE.sub(lambda m: _script(m[1], m[2]), text)
    return text.replace("\ue000", "^").replace("\ue001", "_")


def _script(mark: str, inside: str) -> str:
    if inside in _BARE_SCRIPTS:
        return inside
    if inside and not inside.strip("′ "):
        return inside.replace(" ", "").replace("′′", "″")
    if inside and all(c in "0123456789+-" for c in inside):
        return inside.translate(_UP if mark == "^" else _DOWN)
    if mark == "^" and inside in ("*", "°", "′", "″", "†", "⋆"):
        return inside
    if not inside:
        return ""
    grouped = any(c in inside for c in " /=<>≤≥") or any(c in inside[1:] for c in "+-")
    return _LOOSE[mark] + (f"({inside})" if grouped else inside)


_BARE_SCRIPTS: Final = frozenset("⊙⊕⋆*☉♃⊥∥°′″")


def _without_braces(text: str) -> str:
    return text.replace("{", "").replace("}", "").replace("\ue010", "{").replace("\ue011", "}")


_SPACING: Final = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<=[\w)\]°″′%⊙⁰¹²³⁴-⁹⁻₀-₉*⋆⟩|]) ?([≲≳≤≥≈≃≅∝≡≪≫≠→~∈]) ?(?=\S)"), r" \1 "),
    (re.compile(r"^ ?([≲≳≤≥≈≃≅∝≡≪≫≠~]) (?=\S)"), r"\1"),
    (re.compile(r" ?([×±∓]) ?| (?=[″′])"), r"\1"),
    (re.compile(r"\b([ΔδΓ∂∇]) (?=[A-Za-zα-ω])"), r"\1"),
    (re.compile(r"\b(log|ln|sin|cos|tan|exp|max|min)(?=[A-ZΑ-Ωα-ω\d])"), r"\1 "),
)


def _tidy(text: str) -> str:
    """Spaces as a reader expects them: TeX sets its own in math, whatever the source has."""
    for pattern, replacement in _SPACING:
        text = pattern.sub(replacement, text)
    return text
