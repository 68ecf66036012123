r"""Formulas as MathML: latex2mathml reads them; what it makes of them is written here, from a list of what may be.

Its own writer undoes its escaping (`\text{<script>}` becomes an element) and lets \href, \style and \class through.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Final
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

from embedsearch.corpus import to_text
from embedsearch.server.page.latex import is_bounded, is_long, readable
from embedsearch.server.page.visible import HIDDEN

_ELEMENTS: Final = frozenset(
    {
        "mi", "mo", "mn", "mtext", "mspace", "mrow", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder",
        "mover", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "mmultiscripts", "mprescripts",
        "none",
    }
)  # fmt: skip
_WORDS: Final = frozenset(
    {
        "display", "displaystyle", "scriptlevel", "stretchy", "fence", "separator", "form", "accent", "accentunder",
        "movablelimits", "largeop",
    }
)  # fmt: skip
_LENGTHS: Final = frozenset(
    {"width", "height", "depth", "voffset", "lspace", "rspace", "minsize", "maxsize", "linethickness"}
)
_UPWARDS: Final = frozenset({"height", "depth", "voffset"})
_WORD: Final = re.compile(r"[a-z]{1,12}|[0-3]")
_LENGTH: Final = re.compile(r"([+-]?\d{0,2}\.?\d{1,4})(em|ex)?")
_MAX_EM: Final = 3.0
"""Of one length; and of all together that push what comes after them up, down or back, over what is there."""

_COMMAND: Final = re.compile(r"\\[A-Za-z]+")
_STYLES: Final = {
    "bold": "BOLD", "bold-italic": "BOLD ITALIC", "script": "SCRIPT", "bold-script": "BOLD SCRIPT",
    "double-struck": "DOUBLE-STRUCK", "fraktur": "FRAKTUR", "sans-serif": "SANS-SERIF", "monospace": "MONOSPACE",
    "sans-serif-italic": "SANS-SERIF ITALIC", "bold-sans-serif": "SANS-SERIF BOLD",
}  # fmt: skip

_SIGNS: Final = ("&#x02212;", "&#x0002B;", "&#x000B1;", "&#x02213;", "−", "+", "±", "∓")
_CLOSING: Final = (")", "]", "}", "|", "⟩", "!", "∞", "′")


class _Unreadable(Exception):
    """A formula that cannot be shown as one."""


def formula(latex: str, *, block: bool = False) -> Markup:
    """MathML of a formula (without its dollar signs); where that cannot be, its text, else its source in <code>."""
    made = _mathml(latex, block)
    return made if made is not None else _as_text(latex)


@lru_cache(maxsize=5_000)
def _mathml(latex: str, block: bool) -> Markup | None:
    source = readable(latex)
    if source is None:
        return None
    try:
        root = convert_to_element(source)
        if _pushes(root) > _MAX_EM:
            return None
        _trim(root)
        inside = "".join(_written(child, 0) for child in root)
    except Exception:  # the parser has no error of its own above the dozens that broken LaTeX leads to
        return None
    if block:
        return Markup(f'<math display="block">{inside}</math>')
    # No browser breaks a formula into lines, so that on a phone a long one needs a place in which it can be moved
    made = f"<math>{inside}</math>"
    return Markup(f'<span class="long">{made}</span>' if is_long(source) else made)


def _as_text(latex: str) -> Markup:
    """What the command line prints for it, if that is free of LaTeX."""
    text = HIDDEN.sub("", to_text(f"${latex}$")) if is_bounded(latex) else ""
    if text and not set(text) & set("\\${}"):
        return Markup('<span class="formula">{}</span>').format(text)
    return Markup('<code class="formula">{}</code>').format(HIDDEN.sub("", latex))


def _written(element: Element, depth: int) -> str:
    if depth > 60:
        raise _Unreadable
    name = element.tag if element.tag in _ELEMENTS else "mrow"
    attributes = _attributes(element)
    text = _text_of(element)
    if name == "mi":
        name, text, more = _identifier(text, element.get("mathvariant"))
        attributes |= more
    elif name == "mo" and text == "/":
        attributes |= {"lspace": "0em", "rspace": "0em"}
    elif name == "mn" and element.get("mathvariant") in _STYLES:
        text = _styled(text, _STYLES[element.get("mathvariant", "")])
    children = _merged(element)
    _sign(children)
    inside = escape(text) + Markup("").join(Markup(_written(child, depth + 1)) for child in children)
    if name == "mrow" and not attributes and not text and len(children) == 1:
        return str(inside)  # a row of one says nothing
    written = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{inside}</{name}>"


def _attributes(element: Element) -> dict[str, str]:
    return {key: value for key, value in element.attrib.items() if _is_harmless(key, value)}


def _is_harmless(key: str, value: str) -> bool:
    """Whether an attribute is known, and has a value that it may have."""
    return bool(_WORD.fullmatch(value)) if key in _WORDS else abs(_length(key, value)) <= _MAX_EM


def _length(key: str, value: str) -> float:
    """In em, at most; infinity for what is none."""
    found = _LENGTH.fullmatch(value) if key in _LENGTHS else None
    return float(found[1]) if found else math.inf


def _pushes(root: Element) -> float:
    """How far its lengths together move something over what stands beside it, in em; many short ones add up."""
    lengths = ((key, _length(key, value)) for element in root.iter() for key, value in element.attrib.items())
    return sum(abs(length) for key, length in lengths if math.isfinite(length) and (length < 0 or key in _UPWARDS))


def _text_of(element: Element) -> str:
    """Its characters; the parser writes some of them as references. A command that it does not know is text."""
    raw = (element.text or "").strip("\n\t ")
    text = "".join(c for c in html.unescape(raw) if c.isprintable() or c == "\xa0")
    text = HIDDEN.sub("", text)
    if _COMMAND.fullmatch(text):
        text = to_text(f"${text}$")
        if text.startswith(("$", "\\")):
            raise _Unreadable
    if "\\" in text:
        raise _Unreadable
    return text


def _identifier(text: str, variant: str | None) -> tuple[str, str, dict[str, str]]:
    """Name, text and attributes of a symbol: browsers know no other variant than upright, but have the letters."""
    if text == "~":
        return "mo", "∼", {}
    if len(text) == 1 and unicodedata.category(text) == "Sm" and text not in "∞∂∇∅":
        return "mo", text, {}
    if variant in _STYLES:
        return "mi", _styled(text, _STYLES[variant]), {}
    if len(text) == 1 and (variant == "normal" or (variant is None and "Α" <= text <= "Ω")):  # as TeX sets them
        return "mi", text, {"mathvariant": "normal"}
    return "mi", text, {}


@lru_cache(maxsize=2_000)
def _styled(text: str, style: str) -> str:
    return "".join(_styled_letter(letter, style) for letter in text)


def _styled_letter(letter: str, style: str) -> str:
    name = unicodedata.name(letter, "").replace("LATIN ", "").replace("GREEK ", "").replace("LETTER ", "")
    for full in (
        f"MATHEMATICAL {style} {name}",
        f"{style} {name}",
        f"{style.replace('FRAKTUR', 'BLACK-LETTER')} {name}",
    ):
        try:
            return unicodedata.lookup(full)
        except KeyError:  # Unicode had some of these before it had the rest
            continue
    return letter


def _merged(element: Element) -> list[Element]:
    """Its children, with the upright letters of one word in one element: "eff" is not e times f times f."""
    if element.tag not in ("mrow", "mstyle", "math", "mtd"):
        return list(element)
    merged: list[Element] = []
    for child in element:
        before = merged[-1] if merged else None
        if before is not None and _is_upright(before) and _is_upright(child):
            word = Element("mi", {"mathvariant": "normal"})
            word.text = (before.text or "") + (child.text or "")
            merged[-1] = word
        else:
            merged.append(child)
    return merged


def _sign(row: list[Element]) -> None:
    """Say of a minus behind another operator that it is a sign: browsers would set it as a difference."""
    for before, child in pairwise(row):
        if (child.text or "") in _SIGNS and _is_operator(before) and _text_of(before) not in _CLOSING:
            child.set("form", "prefix")


def _trim(root: Element) -> None:
    """Take the space from operators at the ends of a formula: the text around has its own."""
    row = root
    while len(row) == 1 and row[0].tag == "mrow":
        row = row[0]
    if len(row) and _is_operator(row[0]):
        row[0].set("lspace", "0em")
    if len(row) and _is_operator(row[-1]):
        row[-1].set("rspace", "0em")


def _is_operator(element: Element) -> bool:
    return element.tag == "mo" or (element.tag == "mi" and _identifier(_text_of(element), None)[0] == "mo")


def _is_upright(element: Element) -> bool:
    text = element.text or ""
    return element.tag == "mi" and element.get("mathvariant") == "normal" and text.isalpha() and len(element) == 0
