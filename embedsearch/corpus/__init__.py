"""Papers from files, the ids they go by, and the text of them that people read."""

from embedsearch.corpus.guards import GuardPaper, guard_papers
from embedsearch.corpus.ids import (
    CONTENT_ID_PREFIX,
    PaperId,
    content_id,
    doi_of,
    is_arxiv_id,
    month_of,
    normal_id,
    sample_key,
)
from embedsearch.corpus.latex import to_text
from embedsearch.corpus.readers import Corpus, open_corpus
from embedsearch.corpus.sample import SampleQuery, sample_path, sample_queries
from embedsearch.corpus.select import Selection, check_date

__all__ = [
    "CONTENT_ID_PREFIX",
    "Corpus",
    "GuardPaper",
    "PaperId",
    "SampleQuery",
    "Selection",
    "check_date",
    "content_id",
    "doi_of",
    "guard_papers",
    "is_arxiv_id",
    "month_of",
    "normal_id",
    "open_corpus",
    "sample_key",
    "sample_path",
    "sample_queries",
    "to_text",
]
