"""Files of BibTeX, as far as their entries say which papers they are."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from embedsearch.corpus.ids import doi_of, is_arxiv_id, normal_id
from embedsearch.corpus.latex import to_text
from embedsearch.errors import CorpusError, MissingExtra

if TYPE_CHECKING:
    from bibtexparser.model import Block

SUFFIXES: Final = (".bib", ".bibtex")
"""How the name of such a file ends, in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BibEntry:
    """One entry. `eprint` is an arXiv id in normal form, `doi` in lower case and not arXiv's own.

    `title` and `author`, the first one's family name or a collaboration, are texts for people, "" where there is none.
    """

    key: str
    title: str = ""
    eprint: str | None = None
    doi: str | None = None
    author: str = ""


@dataclass(frozen=True, slots=True)
class Bib:
    """What a file holds: `entries` in its order, and a line about each thing that could not be read as it should."""

    entries: tuple[BibEntry, ...]
    problems: tuple[str, ...]


def read_bib(path: str | Path) -> Bib:
    """Read a file of BibTeX, in UTF-8, UTF-16 with a mark, or else in Latin-1.

    Entries that are damaged are left out and named in `problems`; of those with equal keys all are kept.

    Raises CorpusError for a file that cannot be read or has no entry, MissingExtra without bibtexparser.
    """
    where = Path(path)
    text, problems = _text(where)
    try:
        from bibtexparser.entrypoint import parse_string
        from bibtexparser.exceptions import ParsingException
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("bibtexparser"):
            raise
        raise MissingExtra("BibTeX is read by the package bibtexparser: pip install 'embedsearch[today]'") from error
    if not (logger := logging.getLogger("bibtexparser")).handlers:
        logger.addHandler(logging.NullHandler())  # it tells of each damaged entry; so do we
    try:
        parsed = parse_string(text, parse_stack=[])
    except ParsingException as error:
        raise CorpusError(f"{where}: expected BibTeX, found: {error}") from error
    strings = {name.lower(): _bare(one.value) for name, one in parsed.strings_dict.items()}
    entries = []
    for block in parsed.blocks:
        found, problem = _fields_of(block, strings)
        if problem:
            problems.append(problem)
        if found is not None:
            entries.append(_read_entry(*found))
    if not entries:
        raise CorpusError(f"{where}: expected entries of BibTeX (@article{{...}}), found none{_why(text, problems)}")
    return Bib(tuple(entries), tuple(problems))


def _text(path: Path) -> tuple[str, list[str]]:
    """What a file says, and what was odd about it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: expected a file of BibTeX, found no such file") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: expected a file of BibTeX, found a directory") from None
    except OSError as error:
        raise CorpusError(f"{path}: expected a file of BibTeX, found: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise CorpusError(f"{str(path)!r}: expected a file of BibTeX, found: {error}") from None
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return data.decode("latin-1"), [f"line {line}: not in UTF-8: the whole file is read as Latin-1"]


def _fields_of(block: Block, strings: Mapping[str, str]) -> tuple[tuple[str, dict[str, str]] | None, str]:
    """Key and fields of the entry that a block is, if it is one, and what is wrong with it."""
    from bibtexparser import model

    line, problem = (block.start_line or 0) + 1, ""
    if isinstance(block, model.DuplicateBlockKeyBlock | model.DuplicateFieldKeyBlock):
        if isinstance(block, model.DuplicateBlockKeyBlock):
            problem = f"line {line}: the key {block.key} a second time"
        block = block.ignore_error_block or block
    if isinstance(block, model.Entry):
        fields: dict[str, str] = {}
        for field in block.fields:  # the first of each counts
            fields.setdefault(field.key.lower(), _value(field.value, strings))
        return (block.key, fields), problem
    if isinstance(block, model.ParsingFailedBlock) and not isinstance(block, model.DuplicateBlockKeyBlock):
        return _rescued(block.raw or "", line)
    return None, ""


def _rescued(raw: str, line: int) -> tuple[tuple[str, dict[str, str]] | None, str]:
    """What the lines of a damaged entry still say."""
    begins = re.match(r"@\w+\s*[{(]\s*([^\s,{}=]+)\s*,", raw)
    lines = _LINE.findall(raw) if begins else []
    fields = {name.lower(): value for name, value in reversed(lines)}
    if begins and fields.keys() & {"eprint", "doi", "title"}:
        return (begins[1], fields), f"line {line}: a damaged entry was read in part: {begins[1]}"
    return None, f"line {line}: a damaged entry was left out: {' '.join(raw.split())[:40]}"


def _why(text: str, problems: list[str]) -> str:
    """Of a file without any entry."""
    if not text.strip():
        return ": the file is empty"
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        return ": this is a page of the web: save the BibTeX itself"
    return f": {problems[0]}" if problems else ""


_ID: Final = r"(?:[a-z-]+(?:\.[a-z-]+)?/[0-9]{7}|[0-9]{4}\.[0-9]{4,5})(?:v[1-9][0-9]*)?(?![0-9])"
_ANYWHERE: Final = re.compile(
    rf"(?:arxiv\.org/(?:abs|pdf|html|format|ps|src)/|^abs/|arxiv\s*[:.]\s*|arxiv\s+(?:e-?prints?|preprint)\s*:?\s*)({_ID})",
    re.IGNORECASE,
)
_FIRST: Final = re.compile(rf"\W*arxiv\s*:\s*({_ID})", re.IGNORECASE)
_BIBCODE: Final = re.compile(r"\b[12][0-9]{3}arxiv([0-9]{4})\.?([0-9]{4,5})[a-z]\b", re.IGNORECASE)
_BRACE: Final = re.compile(r"(?<!\\)[{}]")
_LINE: Final = re.compile(r"^\s*([A-Za-z]+)\s*=\s*[{\"]*([^{}\"]+)[}\"]*\s*,?\s*$", re.MULTILINE)
"""A field that fills a line, whatever is wrong with the others."""
_BARE: Final = re.compile(r"[0-9]{7}(?:v[1-9][0-9]*)?")

_NAMING: Final = (
    "url", "link", "journal", "journaltitle", "number", "eid", "pages", "volume", "howpublished", "adsurl",
)  # fmt: skip
"""Fields that name the paper itself, and nothing else."""


def _read_entry(key: str, fields: Mapping[str, str]) -> BibEntry:
    ids = (normal_id(text).id for text in _ids(fields, key))
    return BibEntry(
        key=key,
        title=_plain(fields.get("title", "")),
        eprint=next((id for id in ids if is_arxiv_id(id)), None),
        doi=_doi(fields),
        author=_first_author(fields.get("author", "")),
    )


def _value(value: Any, strings: Mapping[str, str]) -> str:
    """A value without what encloses it, the names of strings replaced, `#` done."""
    parts = [part.strip() for part in _outer_parts(str(value))]
    return "".join(strings.get(part.lower(), _bare(part)) for part in parts)


def _outer_parts(value: str) -> Iterator[str]:
    """What stands between the "#" that are outside of braces and quotes."""
    if "#" not in value:
        yield value
        return
    depth, quoted, start = 0, False, 0
    for i, mark in enumerate(value):
        if mark in "{}" and value[i - 1 : i] != "\\":
            depth += 1 if mark == "{" else -1
        elif mark == '"' and depth == 0:
            quoted = not quoted
        elif mark == "#" and depth == 0 and not quoted:
            yield value[start:i]
            start = i + 1
    yield value[start:]


def _bare(value: str) -> str:
    value = value.strip()
    is_enclosed = len(value) >= 2 and (value[0], value[-1]) in (("{", "}"), ('"', '"'))
    return value[1:-1] if is_enclosed else value


def _ids(fields: Mapping[str, str], key: str) -> Iterator[str]:
    """What may be the arXiv id of an entry, from all the usual places, the surest first."""
    given = _simple(fields.get("eprint", ""))
    subject = _simple(fields.get("primaryclass") or fields.get("eprintclass") or fields.get("archiveprefix") or "")
    if _BARE.fullmatch(given) and subject.lower() not in ("", "arxiv"):  # {astro-ph} 0601001
        given = f"{subject.partition('.')[0]}/{given}"
    yield given
    for name in ("doi", "arxivid", "arxiv"):
        yield _simple(fields.get(name, ""))
    for text in [_simple(fields.get(name, "")) for name in _NAMING] + [key]:
        yield from _ANYWHERE.findall(text)
        yield from (f"{month}.{number}" for month, number in _BIBCODE.findall(text))
    if (first := _FIRST.match(_simple(fields.get("note", "")))) is not None:  # further on other papers may be named
        yield first[1]


def _doi(fields: Mapping[str, str]) -> str | None:
    for name in ("doi", "url", "link"):
        if (doi := doi_of(_simple(fields.get(name, "")))) is not None:
            return doi
    return None


def _simple(value: str) -> str:
    """A value that is no prose: without braces, \\url and the backslashes before "_", "&" and "%"."""
    plain = re.sub(r"\\(?:url|href|path|nolinkurl)\b|\\(?=[_&%#])", "", value)
    return "".join(plain.replace("{", "").replace("}", "").split("\n")).strip()


def _plain(value: str) -> str:
    """Prose as text; braces that only keep capitals are taken away."""
    while value.startswith("{") and value.endswith("}") and _closes_last(value):
        value = value[1:-1].strip()
    return to_text(value if "\\" in value or "$" in value else value.replace("{", "").replace("}", ""))


def _closes_last(value: str) -> bool:
    """Whether the brace that begins a value is closed by its last one: not in {A} and {B}."""
    depth = 0
    for found in _BRACE.finditer(value):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end() == len(value)
    return False


def _first_author(value: str) -> str:
    """The family name of the first author, or the whole of a name in braces."""
    first = re.split(r"\s+and\s+", value.strip(), maxsplit=1)[0].strip()
    family, comma, _ = first.partition(",")
    if comma or first.startswith("{"):
        return _plain(family.strip())
    words = _plain(first).split()
    return words[-1] if words else ""
