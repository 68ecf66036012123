"""The adapter for mteb, on a task made from the sample: what mteb finds is what evaluate finds."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import build_index
from embedsearch.corpus import open_corpus, sample_path, sample_queries
from embedsearch.encoders import Role
from embedsearch.evaluate import Entry, Papers, Task, evaluate, make_sets
from embedsearch.integrations.mteb import MtebEncoder
from embedsearch.search import Mode

DIM = 64


class Words(FakeEncoder):
    """A text is the sum of a random direction for each of its words: no two papers tie. Queries are counted."""

    @property
    def dim(self) -> int:
        return DIM

    def _counts(self, text: str) -> list[float]:
        words = text.lower().split()
        seeds = [np.random.default_rng(zlib.crc32(word.encode())) for word in words]
        return list(np.sum([seed.normal(size=DIM) for seed in seeds], axis=0))


def sample_task() -> Any:
    """The sample's papers and queries, as mteb has a task of retrieval."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class SampleRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="SampleRetrieval",
            description="Invented abstracts of astronomy, and questions that they answer.",
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            dataset={"path": "none", "revision": "none"},
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            papers = open_corpus(sample_path())
            corpus = [{"id": paper.id, "title": paper.title, "text": paper.abstract} for paper in papers]
            queries = [{"id": str(i), "text": query.query} for i, query in enumerate(sample_queries(), 1)]
            relevant = {str(i): dict.fromkeys(query.relevant, 1) for i, query in enumerate(sample_queries(), 1)}
            split = {
                "corpus": Dataset.from_list(corpus),
                "queries": Dataset.from_list(queries),
                "relevant_docs": relevant,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}  # type: ignore[dict-item]
            self.data_loaded = True

    return SampleRetrieval()


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    """What mteb says of the encoder."""
    import mteb

    model = MtebEncoder(Words(), name="words", template="{abstract}")
    results = mteb.evaluate(model, sample_task(), cache=None, show_progress_bar=False, co2_tracker=False)
    assert results.model_name == "embedsearch/words"
    found: dict[str, Any] = results.task_results[0].scores["test"][0]
    return found


def test_mteb_finds_what_evaluate_finds(scores: dict[str, Any], tmp_path: Path) -> None:
    build_index(sample_path(), tmp_path / "i", encoder=Words())
    entry = Entry.open(tmp_path / "i", encoder=Words())
    papers, _ = Papers.common([entry])
    sets, _ = make_sets(papers, [Task.QRELS])
    (figures,) = evaluate([entry], papers, sets, modes=[Mode.DENSE]).figures
    ours = {name: interval.mean for name, interval in figures.intervals.items()}
    assert 0.1 < ours["nDCG@10"] < 0.95  # else every ranking would do
    for name, theirs in {"nDCG@10": "ndcg_at_10", "recall@10": "recall_at_10", "MRR@10": "mrr_at_10"}.items():
        assert scores[theirs] == pytest.approx(ours[name], abs=6e-4), name  # stored vectors are of float16


def batches(**columns: list[str]) -> list[dict[str, list[str]]]:
    return [
        {name: [value] for name, value in zip(columns, row, strict=True)} for row in zip(*columns.values(), strict=True)
    ]


def test_queries_and_documents_have_their_roles_and_their_order() -> None:
    from mteb.types import PromptType

    encoder = FakeEncoder()
    model = MtebEncoder(encoder, name="lab/fake")
    texts = ["star", "gas gas", "dust"]
    found = model.encode(batches(text=texts), prompt_type=PromptType.query, task_metadata=None, hf_split="test")
    assert np.array_equal(found, FakeEncoder().encode(texts, role=Role.QUERY))
    assert found.dtype == np.float32
    assert encoder.n_queries == 3
    model.encode(batches(text=texts), prompt_type=PromptType.document)
    model.encode(batches(text=texts))
    assert encoder.n_queries == 3
    assert encoder.n_calls == 3  # all batches at once
    meta = model.mteb_model_meta
    assert meta is not None
    assert (meta.name, meta.embed_dim, meta.max_tokens) == ("lab/fake", 8, 512)


def test_documents_are_made_by_the_template_of_a_store() -> None:
    documents = batches(title=["star", "wave"], body=["gas", "dust"], text=["star gas", "wave dust"])
    by = {
        template: MtebEncoder(FakeEncoder(), name="fake", template=template).encode(documents)
        for template in (None, "{abstract}", "{title} {abstract}")
    }
    fake = FakeEncoder()
    assert np.array_equal(by["{abstract}"], fake.encode(["gas", "dust"], role=Role.DOCUMENT))
    assert np.array_equal(by[None], fake.encode(["star gas", "wave dust"], role=Role.DOCUMENT))
    assert np.array_equal(by["{title} {abstract}"], by[None])
    untitled = [{name: batch[name] for name in ("body", "text")} for batch in documents]
    assert np.array_equal(
        MtebEncoder(fake, name="fake", template="{title} {abstract}").encode(untitled), by["{abstract}"]
    )


def test_it_is_one_of_mtebs_encoders() -> None:
    from mteb.models.models_protocols import EncoderProtocol

    assert isinstance(MtebEncoder(FakeEncoder(), name="fake"), EncoderProtocol)
