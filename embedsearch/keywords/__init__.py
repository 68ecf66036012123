"""Keyword search: BM25 over title and abstract as one field, by tantivy.

One field makes the score, so that a short title does not outweigh a long abstract. Two stand beside it: `names` holds
designations in one spelling (NGC 1333 = NGC1333), `authors` the authors' names; what a query says of either adds to
the score. Nothing in a query is an operator but the quotation marks around a phrase.
"""

from embedsearch.keywords.index import Keywords, Listed
from embedsearch.keywords.query import MAX_QUERY_CHARS, MAX_QUERY_WORDS, KeywordQuery, clean
from embedsearch.keywords.words import words_of
from embedsearch.keywords.writing import build, extend

__all__ = [
    "MAX_QUERY_CHARS",
    "MAX_QUERY_WORDS",
    "KeywordQuery",
    "Keywords",
    "Listed",
    "build",
    "clean",
    "extend",
    "words_of",
]
