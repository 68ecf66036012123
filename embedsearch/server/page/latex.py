r"""A formula's source: what of it is shown as a formula, and in the words that latex2mathml knows."""

from __future__ import annotations

import re
from typing import Final

from embedsearch.corpus import to_text
from embedsearch.server.page.visible import HIDDEN

MAX_LENGTH: Final = 600
"""Characters of a formula; a longer one is shown as it was written."""
MAX_DEPTH: Final = 16
"""Braces within braces."""

LONG: Final = 25
"""Signs of a formula; a longer one may need more room than a narrow screen has."""

_END: Final = r"(?![A-Za-z])"
"""Of a command: a digit or "_" behind it is not part of its name."""
# What defines commands could grow without end; the rest says how things look, or where links lead.
_REFUSED: Final = re.compile(rf"\\(?:[A-Za-z]*(?:def|command|environment|Operator)|let|require|style|class|rule){_END}")
_BRACKET: Final = re.compile(r"\\(?:left|right|begin|end)(?![A-Za-z])|\\.|[{}]", re.DOTALL)
_COMMAND: Final = re.compile(r"\\[A-Za-z]+")
_NO_SIGN: Final = re.compile(r"[{}^_\\\s]")
_THOUSANDS: Final = re.compile(r"(?<![\d.])\d{1,3}(?:(?:,|\{,\})\d{3})+(?![\d,])")
_REWRITTEN: Final = (
    (re.compile(r"\\href\s*\{[^{}]*\}"), ""),
    (re.compile(rf"\\(?:ensuremath|xspace|protect|boldmath|unboldmath|nolimits){_END}"), ""),
    (re.compile(r"\\(?:textsc|textsl|mathnormal|textnormal|ion)(?=\s*\{)"), r"\\text"),
    (re.compile(rf"\\(?:[MLRZ]sun|msun|MSun|Msolar|lsun|rsun|zsun){_END}"), lambda m: rf"{m[0][1].upper()}_\odot "),
    (re.compile(rf"\\M(?:earth|Earth){_END}"), lambda _: r"M_\oplus "),
    (re.compile(rf"\\R(?:earth|Earth){_END}"), lambda _: r"R_\oplus "),
    (re.compile(rf"\\[Tt]eff{_END}"), lambda _: r"T_{\mathrm{eff}} "),
    (re.compile(rf"\\(?:lsim|la|lessapprox|aplt|lapprox){_END}"), lambda _: r"\lesssim "),
    (re.compile(rf"\\(?:gsim|ga|gtrapprox|apgt|gapprox){_END}"), lambda _: r"\gtrsim "),
    (re.compile(rf"\\(?:sun|Sun){_END}"), lambda _: r"\odot "),
    (re.compile(rf"\\(?:fdg|fdegr){_END}"), lambda _: r".\!^{\circ}"),
    (re.compile(rf"\\(?:arcdeg|degr|deg|degree|degrees){_END}"), lambda _: r"\text{°}"),
    (
        re.compile(rf"\\(?:kms|kmps|ergs|[kMG]pc|[MG]yr|micron|um|angstrom){_END}"),
        lambda m: rf"\,\text{{{to_text(f'${m[0]}$')}}}",
    ),
    (_THOUSANDS, lambda m: rf"\text{{{re.sub(r'[{}]', '', m[0])}}}"),
)


def readable(latex: str) -> str | None:
    """The source of a formula as latex2mathml can read it; None for one that it is not to be given."""
    if not is_bounded(latex) or _REFUSED.search(latex):
        return None
    source = HIDDEN.sub("", latex)
    for pattern, replacement in _REWRITTEN:
        source = pattern.sub(replacement, source)
    return source


def is_bounded(latex: str) -> bool:
    """Whether a formula is neither so long nor so deep that it takes long to read; its braces are balanced."""
    return len(latex) <= MAX_LENGTH and _depth(latex) <= MAX_DEPTH


def is_long(source: str) -> bool:
    """Whether a formula may be wider than a narrow screen: by its signs, a command being one of them."""
    return len(_NO_SIGN.sub("", _COMMAND.sub("x", source))) > LONG


def _depth(latex: str) -> int:
    depth = deepest = 0
    for mark in _BRACKET.findall(latex):
        depth += {"{": 1, "\\left": 1, "\\begin": 1, "}": -1, "\\right": -1, "\\end": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    if depth != 0:
        return MAX_DEPTH + 1  # unbalanced: broken
    return deepest
