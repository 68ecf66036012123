"""The texts that a paper gives: what is embedded, and the names in it that people spell in several ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Final, Self

from embedsearch.errors import OptionError
from embedsearch.records import Paper

# ---- what is embedded -----------------------------------------------------------------------------------------------

_FIELDS: Final = ("title", "abstract", "authors", "categories", "published", "comments", "journal_ref", "doi", "id")


@dataclass(frozen=True, slots=True)
class Template:
    """How the text that is embedded is made from a paper's fields, such as "{title}\\n{abstract}".

    `source` is what it was parsed from, with real line breaks; `parts` are pairs of a literal text and the name of
    the field behind it, None behind the last. Made by `parse`.
    """

    source: str
    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str = "{abstract}") -> Self:
        r"""Read a template. The two characters \n, as a shell hands them over, mean a line break; braces are doubled.

        Raises OptionError for a field that papers do not have, and for a template without any.
        """
        source = text.encode(errors="replace").decode().replace("\\n", "\n")  # a shell's bytes need not be UTF-8
        known = f"known are {', '.join(_FIELDS)}"
        try:
            parsed = list(Formatter().parse(source))
        except ValueError as error:
            raise OptionError(f"expected a template such as {{title}} {{abstract}}, found {text!r}: {error}") from None
        for _, field, spec, conversion in parsed:
            if field is not None and (field not in _FIELDS or spec or conversion):
                raise OptionError(f"expected a field of a paper in the template {text!r}, found {field!r}; {known}")
        if not any(field for _, field, _, _ in parsed):
            raise OptionError(f"expected a field in the template, found none in {text!r}; {known}")
        return cls(source, tuple((literal, field) for literal, field, _, _ in parsed))

    def render(self, paper: Paper) -> str:
        """The paper's text: arXiv's own, LaTeX kept, with the white space inside a field folded to one space.

        Authors and categories are joined by ", "; a field that the paper does not have is empty.
        """
        return "".join(literal + (_folded(paper, field) if field else "") for literal, field in self.parts).strip()


def _folded(paper: Paper, field: str) -> str:
    value = getattr(paper, field)
    return " ".join((", ".join(value) if isinstance(value, tuple) else value or "").split())


# ---- names with several spellings ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Designation:
    """A name in a text, text[start:end], and the one lower-case ASCII token that all of its spellings share."""

    start: int
    end: int
    folded: str


# Catalogue names that no other word looks like, in any case. Their numbers stand joined, behind a space or a dash.
_CATALOGUES: Final = {
    "ngc": "NGC", "ic": "IC", "ugc": "UGC", "ugca": "UGCA", "pgc": "PGC", "hd": "HD", "hip": "HIP", "kic": "KIC",
    "tic": "TIC", "toi": "TOI", "koi": "KOI", "gj": "GJ|Gliese", "mrk": "Mrk|Mkn|Markarian",
    "arp": "Arp", "abell": "Abell|ACO", "m": "Messier", "lhs": "LHS", "ltt": "LTT", "wasp": "WASP", "hatp": "HAT-P",
    "hats": "HATS", "kepler": "Kepler", "k2": "K2-", "trappist": "TRAPPIST", "corot": "CoRoT", "kelt": "KELT",
    "3c": "3C", "ddo": "DDO", "hcg": "HCG", "rcw": "RCW", "pds": "PDS", "ss": "SS", "vv": "VV",
}  # fmt: skip
# Those that are ordinary words in lower case ("3 hr 20"), or too short for a guess.
_UPPER_ONLY: Final = {"hr": "HR", "epic": "EPIC", "ton": "Ton", "m": "M", "abell": "A"}
_CONSTELLATIONS: Final = {
    "cygnus": "cyg", "hercules": "her", "scorpius": "sco", "centaurus": "cen", "aquila": "aql", "circinus": "cir"
}  # fmt: skip
_GREEK: Final = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta"}
_SERIES: Final = {"lyman": "ly", "paschen": "pa", "brackett": "br"}
# "Si II" and "S III" would share a token, "Ni II" and "N III" as well.
_LONG_ELEMENTS: Final = {"si": "silicon", "ni": "nickel"}

_D: Final = r"[ \-–]?"  # what may stand between a name and its number
_SIGN: Final = r"[+\-–−]"
_ELEMENT: Final = r"(?:H|He|Li|C|N|O|Ne|Na|Mg|Al|Si|P|S|Cl|Ar|K|Ca|Sc|Ti|Cr|Mn|Fe|Co|Ni|Zn|Sr|Zr|Ba|Eu)"
_STAGE: Final = r"(?:X{0,2}(?:IX|IV|V?I{1,3}|V)|XX?)"
_KINDS: Final = {
    # Hα, H-alpha, Ly α, Lyman alpha, Lya
    "line": rf"(?i:(?:H|Ly(?:man)?|Pa(?:schen)?|Br(?:ackett)?){_D}(?:[αβγδ]|(?:alpha|beta|gamma|delta)(?![a-z])))"
    r"(?![α-ω])|Ly[ab](?!\w)",
    # [O III], [oiii], C III]: with a bracket, anything that is an element and a stage is an ion
    "bracketed": rf"\[(?!(?:[LNST]i)\])(?i:{_ELEMENT} ?{_STAGE})(?:\]|(?=[ λ]))"
    rf"|(?i:{_ELEMENT} ?{_STAGE}(?<=[IVX]{{2}}))\]",
    # H I, He ii, Mg II, C IV, but not the CI of a statistic, the SI of units, "N I have" or a CV
    "ion": rf"(?:H [Ii]|H ?II|HI|(?:He|Li|Na|Mg|Al|Si|Ca|Ti|Fe|Ne|Ar|Ni|Mn|Cr|Ba|Sr) ?{_STAGE}"
    r"|[CNOS] (?:VIII|VII|VI|IV|V|III|II)|[CNOS](?:VIII|VII|VI|IV|III|II)"
    r"|(?:He|Mg|Si|Ca|Fe|Ne|Ar|[CNOSH]) (?:iii|ii|iv|vi)|(?:h|he|c|n|o|mg|ca|fe) (?:iii|ii|iv|vi)"
    r"|hii|heii|cii|ciii|civ|nii|oi?ii|ovi|mgii|caii|feii)(?![A-Za-z0-9])",
    "transient": r"(?i:GRB ?\d{6}[A-Z]?|FRB ?\d{6,8}[A-Z]?|GW ?\d{6}(?:_\d{6})?|SN[ -]?(?:19|20)\d\d[a-z]{1,4}"
    r"|SN[ -]?1\d{3}[a-z]?|AT ?20\d\d[a-z]{3,4})(?!\w)",
    # Names by position: what stands before the J is left out, as many leave it out
    "position": rf"(?:(?:PSR|SDSS|2MASS|WISEA?|CWISE|Gaia|RX|1RXS|XTE|MAXI|Swift|IGR|4FGL|HESS|LHAASO|NVSS|FIRST|PSO"
    rf"|ULAS|psr|sdss|2mass)[ -]?)?[Jj]\d{{4,9}}(?:\.\d+)?{_SIGN}\d{{2,8}}(?:\.\d+)?(?!\w)"
    rf"|(?i:PSR)[ -]?[Bb]?\d{{4}}{_SIGN}\d{{2,4}}(?!\w)|[Bb]\d{{4}}{_SIGN}\d{{2,3}}(?!\w)",
    "radio": rf"(?i:PKS|IRAS|WD|1ES|GX|4C|4U){_D}B?\+?\d{{1,5}}(?:\.\d+)?{_SIGN}?\d+(?:\.\d+)?(?!\w)",
    "xray": r"(?i:Cyg(?:nus)?|Her(?:cules)?|Sco(?:rpius)?|Cen(?:taurus)?|Aql|Aquila|Cir(?:cinus)?|Vela|LMC|SMC)"
    r"[ -]X[ -]?\d(?!\w)",
    "sgra": r"(?i:Sgr|Sagittarius) ?A(?:\*|-star\b)",
    # The letter of a planet belongs to the name, but is not folded: a planet is found with its star
    "catalogue": rf"(?P<name>(?i:{'|'.join(_CATALOGUES.values())})|HR|EPIC|Ton|M|m(?=\d\d)|A(?=\d{{3,4}}(?!\d)))"
    rf"{_D}(?P<number>\d{{1,10}})(?P<suffix>[A-Z]?)(?: ?[b-h])?(?![A-Za-z0-9]|\.\d)",
}
_ANY: Final = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(f"(?P<{kind}>{p})" for kind, p in _KINDS.items()) + ")")
_NAMES: Final = {
    spelling.lower(): folded
    for table in (_UPPER_ONLY, _CATALOGUES)
    for folded, spellings in table.items()
    for spelling in spellings.split("|")
}
_ION: Final = re.compile(rf"\[?({_ELEMENT}) ?({_STAGE})\]?")
_ANY_CASE_ION: Final = re.compile(_ION.pattern, re.IGNORECASE)


def designations(text: str) -> list[Designation]:
    """The names in a text that have several spellings, in order, without overlap.

    Objects (NGC1333, NGC 1333 and NGC-1333 are ngc1333; M 31 and Messier 31 are m31; WASP-12 b and WASP-12b are
    wasp12, the star's), transients, names by position (PSR J0437-4715 and J0437-4715 are j0437m4715), lines (Hα and
    H-alpha are halpha) and ions ([O III] and OIII are oiii). The text is one for people: LaTeX has been decoded.
    """
    found = []
    for match in _ANY.finditer(text):
        folded = _fold(match)
        if folded is not None:
            found.append(Designation(match.start(), match.end(), folded))
    return found


def _fold(match: re.Match[str]) -> str | None:
    if match["catalogue"]:
        return _fold_catalogue(match["name"].lower(), int(match["number"]), match["suffix"].lower())
    if match["line"]:
        return _fold_line(match["line"].lower())
    if ion := match["bracketed"] or match["ion"]:
        return _fold_ion(ion)
    if match["sgra"]:
        return "sgra"
    text = match[0].lower()
    if match["position"]:
        text = _COORDINATES.sub("", text, count=1)
    for long, short in _CONSTELLATIONS.items():
        text = text.replace(long, short)
    # A sign is part of the name: 2155-304 and 2155+304 are two objects.
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(?<=\d)[\-–−](?=\d)", "m", text).replace("+", "p"))


_COORDINATES: Final = re.compile(r"^.*?(?=[jb]?\d{4,9}(?:\.\d+)?[+\-–−])")


def _fold_catalogue(name: str, number: int, suffix: str) -> str | None:
    catalogue = _NAMES[name]
    if catalogue == "m" and (suffix or not 1 <= number <= 110):  # Messier's list; the rest are masses and masers
        return None
    return f"{catalogue}{number}{suffix}"


def _fold_line(text: str) -> str:
    for table in (_SERIES, _GREEK):
        for long, short in table.items():
            text = text.replace(long, short)
    if text in ("lya", "lyb"):
        text = {"lya": "lyalpha", "lyb": "lybeta"}[text]
    return re.sub(r"[^a-z]", "", text)


def _fold_ion(text: str) -> str | None:
    # As it is written first: SiII is silicon's, SIII sulphur's.
    found = _ION.fullmatch(text) or _ANY_CASE_ION.fullmatch(text)
    if found is None:
        return None
    element = found[1].lower()
    return _LONG_ELEMENTS.get(element, element) + found[2].lower()


# ---- British and American spelling -----------------------------------------------------------------------------------

_SPELLINGS: Final = [
    (re.compile(pattern, re.IGNORECASE), other)
    for pattern, other in (
        (r"(?<=\w\w)is(e[drs]?|ers|ing|ations?|able)\b", r"iz\1"),  # ionised, normalisation
        (r"(?<=\w)yse(d|s|r|rs)?\b", r"yze\1"),  # analysed
        (r"(?<=\w\w\w)our(s|ed|ing|al)?\b", r"or\1"),  # colour, behavioural
        (r"\b(cent|fib|met|lit|calib)re(s?)\b", r"\1er\2"),  # centre
        (r"\bcentred\b", "centered"),
        (r"\bdisc(s?)\b", r"disk\1"),
        (r"\bgrey\b", "gray"),
    )
]


def fold_spelling(text: str) -> str:
    """`text` with British spellings as American ones, for comparing words: magnetised is magnetized.

    It also makes words that nobody writes, such as "noize": both sides are folded, so they still meet.
    """
    return _WORDS.sub(lambda word: _american(word[0]), text)


_WORDS: Final = re.compile(r"[A-Za-z]{4,}")


@lru_cache(65_536)
def _american(word: str) -> str:
    for pattern, other in _SPELLINGS:
        word = pattern.sub(other, word)
    return word
