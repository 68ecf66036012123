"""How texts and names are taken apart into the words that are compared."""

from __future__ import annotations

import tantivy

from embedsearch.store.filters import fold_name
from embedsearch.texts import fold_spelling


def _analyzer() -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (
        tantivy.Filter.remove_long(64),
        tantivy.Filter.lowercase(),
        tantivy.Filter.ascii_fold(),
        tantivy.Filter.stemmer("english"),
    ):
        builder = builder.filter(step)
    return builder.build()


ANALYZER = _analyzer()


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: lower case, without accents, in one spelling, stemmed."""
    return ANALYZER.analyze(fold_spelling(text))


def author_words(name: str) -> list[str]:
    """The words of a name, as authors are compared. Without initials, which say little of whom a query means."""
    return [word for word in fold_name(name) if len(word) > 1]
