"""What LaTeX's commands mean in plain text: pylatexenc's tables, and what astronomers' abstracts need beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from pylatexenc import latex2text, latexwalker, macrospec

# It warns of each command of a corpus that lacks an argument, with a line as if its own tables were wrong.
logging.getLogger("pylatexenc").setLevel(logging.ERROR)

ROMAN: Final = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")

# Escaped braces are held as these while real ones still group.
OPEN_BRACE: Final = "\ue010"
CLOSE_BRACE: Final = "\ue011"

# Commands of AASTeX, mn2e and aa.cls, and those that many authors define for themselves. A unit brings its own space.
_SYMBOLS: Final = {
    "{": OPEN_BRACE, "}": CLOSE_BRACE, "lbrace": OPEN_BRACE, "rbrace": CLOSE_BRACE,
    "sun": "⊙", "Msun": " M⊙", "msun": " M⊙", "MSun": " M⊙", "Msolar": " M⊙", "Lsun": " L⊙", "lsun": " L⊙",
    "Rsun": " R⊙", "rsun": " R⊙", "Zsun": " Z⊙", "zsun": " Z⊙", "earth": "⊕", "Mearth": " M⊕", "Rearth": " R⊕",
    "deg": "°", "degr": "°", "degree": "°", "degrees": "°", "arcdeg": "°", "textdegree": "°", "farcs": "″.",
    "farcm": "′.", "fdg": "°.", "arcsec": "″", "arcmin": "′", "asec": "″", "amin": "′", "prime": "′",
    "micron": " μm", "um": " μm", "upmu": "μ", "textmu": "μ", "angstrom": " Å", "AA": "Å", "hbar": "ℏ",
    "lambdabar": "ƛ", "kms": " km s⁻¹", "kmps": " km s⁻¹", "ergs": " erg s⁻¹", "kpc": " kpc", "Mpc": " Mpc",
    "Gpc": " Gpc", "Gyr": " Gyr", "Myr": " Myr", "kilo": "k", "mega": "M", "meter": "m", "second": "s",
    "Lya": "Lyα", "lya": "Lyα", "Lyalpha": "Lyα", "Ha": "Hα", "ha": "Hα", "Halpha": "Hα", "halpha": "Hα",
    "Hb": "Hβ", "hb": "Hβ", "Hbeta": "Hβ", "hbeta": "Hβ", "LCDM": "ΛCDM", "lcdm": "ΛCDM", "LambdaCDM": "ΛCDM",
    "Mdot": "Ṁ", "mdot": "Ṁ", "Teff": "T_eff", "teff": "T_eff", "logg": "log g", "feh": "[Fe/H]", "xray": "X-ray",
    "la": "≲", "ga": "≳", "lsim": "≲", "gsim": "≳", "lessapprox": "≲", "gtrapprox": "≳", "apgt": "≳", "aplt": "≲",
    "gapprox": "≳", "lapprox": "≲", "leqslant": "≤", "geqslant": "≥", "gteq": "≥", "lteq": "≤", "leq": "≤",
    "geq": "≥", "le": "≤", "ge": "≥", "lt": "<", "gt": ">", "sim": "~", "ast": "*", "star": "⋆", "phi": "φ",
    "epsilon": "ε", "textendash": "–", "textemdash": "—", "slash": "/", "space": " ", "newline": " ", "indent": "",
    "footnotemark": "", "left": "", "right": "", "big": "", "Big": "", "bigg": "", "Bigg": "", "nolimits": "",
    "limits": "", "displaystyle": "", "textstyle": "", "scriptstyle": "", "scriptscriptstyle": "", "tiny": "",
    "scriptsize": "", "footnotesize": "", "small": "", "normalsize": "", "large": "", "Large": "", "rm": "",
    "bf": "", "it": "", "em": "", "sc": "", "tt": "", "sl": "", "sf": "", "cal": "", "scshape": "", "ttfamily": "",
    "rmfamily": "", "sffamily": "", "itshape": "", "bfseries": "", "mit": "", "mathop": "", "mathrel": "",
    "mathbin": "", "boldmath": "", "unboldmath": "", "xspace": "", "mr": "", "protect": "", "noindent": "",
}  # fmt: skip

# Commands whose text is that of their last argument, and how many arguments they take ("*" and "[" are optional ones).
_WRAPPERS: Final = {
    "{": """
        mathcal mathbf mathbb mathfrak mathscr mathsf mathtt mathit mathnormal mathrm boldsymbol bm pmb text textrm mbox
        textsl textsf textup textmd texttt textsc textbf textit emph underline operatorname ensuremath num url ch ce
        ac acp acl acs acf aca gls glspl enquote overline widehat widetilde overrightarrow overbrace underbrace smash
        rlap mathrlap llap hbox vbox MakeUppercase Romannum textsubscript textsuperscript phantom
        """,
    "{{": "stackrel overset underset texorpdfstring textcolor color",
}


def _argument(node: Any, l2tobj: Any, *, which: int = -1) -> str:
    arguments = [a for a in (node.nodeargd.argnlist if node.nodeargd else []) if a is not None]
    if not -len(arguments) <= which < len(arguments):
        return ""
    text = str(l2tobj.nodelist_to_text([arguments[which]]))
    # The braces around an argument are no group that must be kept.
    return text[1:-1].strip() if arguments[which].isNodeType(latexwalker.LatexGroupNode) else text.strip()


def _fraction(node: Any, l2tobj: Any) -> str:
    parts = (_argument(node, l2tobj, which=which) for which in (0, 1))
    return "/".join(f"({part})" if any(c in part for c in "+- /") else part for part in parts)


def _root(node: Any, l2tobj: Any) -> str:
    radicand = _argument(node, l2tobj)
    return f"√{radicand}" if len(radicand) == 1 or radicand.isdigit() else f"√({radicand})"


def _ion(node: Any, l2tobj: Any) -> str:
    element, stage = _argument(node, l2tobj, which=0), _argument(node, l2tobj)
    if stage.isascii() and stage.isdigit() and int(stage) < len(ROMAN):  # AASTeX writes \ion{C}{4}
        stage = ROMAN[int(stage)]
    return f"{element} {stage.upper()}"


def _quantity(node: Any, l2tobj: Any) -> str:
    return f"{_argument(node, l2tobj, which=-2)} {_argument(node, l2tobj).strip()}"


def _accented(node: Any, l2tobj: Any) -> str:
    letters = _argument(node, l2tobj).translate({ord("ı"): "i", ord("ȷ"): "j"})
    return letters[:1] + _ACCENTS[node.macroname] + letters[1:] if letters else ""


def _citation(node: Any, l2tobj: Any) -> str:
    return f"[{_argument(node, l2tobj)}]"


def _character(node: Any, l2tobj: Any) -> str:
    code = _argument(node, l2tobj)
    try:  # MathJax: \unicode{x2013}
        return chr(int(code[1:], 16) if code[:1] in "xX" else int(code))
    except (ValueError, OverflowError):
        return code


# pylatexenc would put the accent on the braces of a group that is kept.
_ACCENTS: Final = {
    '"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "d": "\u0323", "b": "\u0331", "k": "\u0328",
    "r": "\u030a", "t": "\u0361", "hat": "\u0302", "dot": "\u0307", "ddot": "\u0308", "bar": "\u0304",
    "tilde": "\u0303", "vec": "\u20d7", "acute": "\u0301", "grave": "\u0300", "check": "\u030c", "breve": "\u0306",
    "mathring": "\u030a",
}  # fmt: skip

_CUSTOM: Final[dict[str, tuple[str, Callable[..., str]]]] = {
    "frac": ("{{", _fraction), "tfrac": ("{{", _fraction), "dfrac": ("{{", _fraction), "sqrt": ("[{", _root),
    "ion": ("{{", _ion), "SI": ("[{{", _quantity), "qty": ("[{{", _quantity), "unicode": ("{", _character),
    "ang": ("{", lambda node, l2tobj: _argument(node, l2tobj) + "°"),
    **dict.fromkeys(_ACCENTS, ("{", _accented)),
    **dict.fromkeys(("cite", "citep", "citet", "citealt", "citealp", "citeauthor", "citeyear"), ("*[[{", _citation)),
}  # fmt: skip


def _name(node: Any, **_: Any) -> str:
    # A command that nobody knows, such as an author's \gmr, reads best by its name.
    return str(node.macroname)


@cache
def _contexts() -> tuple[Any, Any]:
    """What the parser must know (arguments) and what the writer must know (texts)."""
    custom = dict(_CUSTOM)
    for arguments, names in _WRAPPERS.items():
        custom |= dict.fromkeys(names.split(), (arguments, _argument))
    parse = latexwalker.get_default_latex_context_db()
    parse.add_context_category(
        "astronomy",
        macros=[macrospec.std_macro(name, arguments) for name, (arguments, _) in custom.items()]
        + [macrospec.std_macro(name, "") for name in _SYMBOLS],
        prepend=True,
    )
    write = latex2text.get_default_latex_context_db()
    texts: list[tuple[str, Any]] = [(name, function) for name, (_, function) in custom.items()]
    write.add_context_category(
        "astronomy",
        macros=[latex2text.MacroTextSpec(name, simplify_repl=text) for name, text in [*texts, *_SYMBOLS.items()]],
        prepend=True,
    )
    write.set_unknown_macro_spec(latex2text.MacroTextSpec("", simplify_repl=_name))
    return parse, write


_COMMAND: Final = re.compile(r"\\(?:([A-Za-z]+)|(.))", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\[%{}]")
_UNUSUAL: Final = re.compile(r"['`$%#&-]{2}|[$%#&]")


@cache
def _symbol(name: str, is_before_group: bool) -> str | None:
    """The text of a command that takes no argument, or whose argument is the text itself; None for all others."""
    if name in _WRAPPERS["{"].split():
        return "" if is_before_group else None
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    parse, write = _contexts()
    arguments, text = parse.get_macro_spec(name), write.get_macro_spec(name)
    if (arguments is not None and arguments.args_parser.argspec) or not isinstance(text.simplify_repl, str):
        return None
    return text.simplify_repl or None


def decode_math(latex: str) -> str:
    """As `decode` of the same between dollar signs, and much faster for symbols alone: nearly all math of abstracts."""
    bare = _ESCAPED.sub("", latex)
    if _UNUSUAL.search(bare) or bare.count("{") != bare.count("}"):
        return decode(f"${latex}$")
    parts, start = [], 0
    for found in _COMMAND.finditer(latex):
        text = _symbol(found[1] or found[2], latex.startswith("{", found.end()))
        if text is None:
            return decode(f"${latex}$")
        parts += [latex[start : found.start()].replace("~", " "), text]
        # The space behind a change of font ends the command; behind a symbol it is the author's.
        start = found.end() + (not text and latex.startswith(" ", found.end()))
    return "".join([*parts, latex[start:].replace("~", " ")])


def decode(latex: str) -> str:
    """The text of a piece of LaTeX, with groups, `^` and `_` as they are.

    Raises pylatexenc's LatexWalkerError, or whatever its formatters raise on arguments that they did not expect.
    """
    parse, write = _contexts()
    walker = latexwalker.LatexWalker(latex, latex_context=parse, tolerant_parsing=False)
    writer = latex2text.LatexNodes2Text(
        latex_context=write,
        math_mode="text",
        keep_braced_groups=True,
        keep_braced_groups_minlen=0,
        strict_latex_spaces={"between-latex-constructs": True},
    )
    return str(writer.nodelist_to_text(walker.get_latex_nodes()[0]))
