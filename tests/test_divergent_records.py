"""What is shown of a divergent pair: ranks, percentiles, the words that both share; and the printed pairs."""

from __future__ import annotations

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from matplotlib.text import Text

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Compute, ModelSpec, Role, open_encoder
from embedsearch.errors import OptionError, PaperNotFound
from embedsearch.pairs.divergent import Search, Study
from embedsearch.pairs.divergent.describing import Describer, neighbour_rank
from embedsearch.pairs.divergent.divergence import Closer
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.pairs.divergent.nulls import Halves
from embedsearch.pairs.divergent.printed import PRINTED, both_poolings, find_printed
from embedsearch.pairs.divergent.reasons import shared_terms
from embedsearch.pairs.divergent.selecting import Found
from embedsearch.plots.pairs import save_pairs
from embedsearch.records import SharedTerm
from embedsearch.scores import cosines, unit_rows
from embedsearch.store.space import Space


def spaces(n=40, *, seed=0):
    """Two spaces of which the second is the first with noise; ids do not follow the rows."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(n, 6))
    ids = [f"paper-{(13 * i) % 97:02d}" for i in range(n)]
    return (
        Space.of(ids, base, name="a"),
        Space.of(ids, base + random.normal(size=(n, 6)), name="b"),
    )


def test_a_record_says_what_both_spaces_make_of_a_pair():
    a, b = spaces()
    study = Study.of([a, b])
    result = study.search(Search(n=5))
    assert len(result.first) == len(result.second) == 5
    place = {id: i for i, id in enumerate(a.ids)}
    for record in result.records:
        assert record.ids[0] < record.ids[1]
        i, j = (place[id] for id in record.ids)
        for side, space in enumerate((a, b)):
            vectors = space.vectors
            assert record.cosines[side] == cosines(vectors[i], vectors[j : j + 1])[0]
            all_pairs = (vectors.astype(float) @ vectors.T.astype(float))[np.triu_indices(40, 1)]
            assert record.percentiles[side] == pytest.approx(100 * (all_pairs < record.cosines[side]).mean(), abs=0.2)
            seen = np.delete(vectors @ vectors[i], i)
            assert record.neighbour_ranks[side][0] == 1 + (seen > record.cosines[side] + 1e-6).sum()
        gap = (record.percentiles[0] - record.percentiles[1]) / 100
        assert record.divergence == pytest.approx(gap if record.closer == "first" else -gap)
        assert record.titles == (None, None)
    assert [r.rank for r in result.first] == [1, 2, 3, 4, 5]
    assert [r.n_at_least for r in result.first] == sorted(r.n_at_least for r in result.first)
    assert [r.n_expected for r in result.first] == sorted(r.n_expected for r in result.first)


def test_cosines_of_few_papers_are_kept(monkeypatch):
    a, b = spaces()
    study = Study.of([a, b])
    expected = study.search(Search(n=30, per_paper=None))
    monkeypatch.setattr("embedsearch.pairs.divergent.describing.REMEMBERED", 2)
    assert study.search(Search(n=30, per_paper=None)) == expected
    describer = Describer(study.vectors, study.ids, study.divergence, None)
    found = Found(first=np.arange(20), second=np.arange(20, 40), divergence=np.zeros(20), tie=np.zeros(20, np.int64))
    describer.records(found, Closer.FIRST)
    assert len(describer._seen) <= 2


def test_a_space_against_itself_has_two_labels():
    a, _ = spaces()
    assert Study.of([a, a]).labels == ("a [a] (1)", "a [a] (2)")


def test_the_order_of_the_corpus_does_not_matter():
    a, b = spaces()
    order = np.random.default_rng(5).permutation(40)
    results = [Study.of([x, y]).search(Search(n=4)) for x, y in ((a, b), (a.take(order), b.take(order)))]
    for one, other in zip(*(result.records for result in results), strict=True):
        assert one.ids == other.ids
        assert one.cosines == other.cosines
        assert one.neighbour_ranks == other.neighbour_ranks
        assert one.percentiles == pytest.approx(other.percentiles, abs=1e-3)


def test_named_pairs_keep_their_order_on_their_side():
    a, b = spaces()
    found = Study.of([a, b]).search(Search(n=3))
    named = [found.second[0].ids[::-1], found.first[1].ids, found.first[0].ids]
    result = Study.of([a, b]).describe(named)
    assert [r.ids for r in result.first] == [found.first[1].ids, found.first[0].ids]
    assert [r.ids for r in result.second] == [found.second[0].ids]
    assert result.second[0].n_at_least == 1
    assert result.first[1].divergence == found.first[0].divergence
    with pytest.raises(PaperNotFound, match="one of the 40 papers compared, found 'nobody'"):
        Study.of([a, b]).describe([("nobody", a.ids[0])])
    with pytest.raises(OptionError, match="expected two papers"):
        Study.of([a, b]).describe([(a.ids[0], a.ids[0])])


def test_beside_halves_counts_are_of_the_same_number_of_pairs():
    a, b = spaces()
    kept = a.take(np.arange(20))
    half = Halves(ids=tuple(kept.ids), odd=kept.vectors, even=b.take(np.arange(20)).vectors, n_left_out=20)
    result = Study.of([a, b]).search(Search(n=3), halves=half)
    assert result.halves is not None
    assert (result.halves.n_papers, result.halves.n_left_out, result.halves.labels[0]) == (20, 20, "odd sentences")
    i, j = np.triu_indices(20, 1)
    study = Study.of([kept, b.take(np.arange(20))])
    values = study.divergence(*study._pool(None, None).cosines(i, j), closer=Closer.FIRST)
    for record in result.first:
        assert record.n_halves == pytest.approx((values >= record.divergence).sum() * 780 / 190)


def test_neighbour_rank_of_ties_is_shared():
    seen = np.array([1.0, 0.9, 0.5, 0.9, 0.2], np.float32)
    assert [neighbour_rank(seen, 0, i) for i in (1, 3, 2, 4)] == [1, 1, 3, 4]
    assert neighbour_rank(seen, 2, 1) == 2  # the first paper is nearer, itself does not count


N_WITH = {"magnet": 3, "plasma": 15, "the": 900, "turbul": 2, "vacuum": 1}


def test_shared_terms_are_rare_and_rarest_first():
    one = "Turbulence in the magnetized plasma of NGC 1333, 2005."
    other = "The strongly magnetised vacuum; turbulent Plasma near NGC1333 in 2005"
    found = shared_terms(one, other, n_with=lambda word: N_WITH.get(word, 1000), n_papers=1000)
    assert found == (
        SharedTerm(term="NGC 1333", n_papers=None),
        SharedTerm(term="turbulent", n_papers=2),
        SharedTerm(term="magnetized", n_papers=3),
        SharedTerm(term="plasma", n_papers=15),
    )
    assert len(shared_terms(one, other, n_with=lambda word: 1, n_papers=1000, most=2)) == 2
    assert shared_terms("Dust here", "Gas there", n_with=lambda word: 1, n_papers=10) == ()


@pytest.fixture(scope="module")
def known_papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known_papers")
    made = corpora.records(30)
    for record, title in zip(made, (title for pair in PRINTED for title in pair.titles), strict=False):
        record["title"] = title
    made[0]["title"] = made[0]["title"].removesuffix("s")  # as the paper prints it
    made[5]["abstract"], made[6]["abstract"] = "dynamos wave", "a dynamo star"
    corpora.write(folder / "papers.jsonl", made)
    build_index(folder / "papers.jsonl", folder / "i", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    return KnownPapers.open(folder / "no", folder / "i"), [record["id"] for record in made]


def test_a_library_knows_words_titles_and_categories(known_papers):
    known, ids = known_papers
    assert known.n_with("dynamo") == 2
    assert known.n_with("nothing") == 0
    papers = known.papers([ids[6], "nobody", ids[5]])
    assert list(papers) == [ids[6], ids[5]]
    assert known.shared(papers[ids[5]], papers[ids[6]])[0] == SharedTerm(term="dynamos", n_papers=2)
    mask = known.in_categories([ids[2], "nobody", ids[0]], ["gr-qc"])
    assert mask.tolist() == [True, False, False]
    assert known.text(ids[5]) == "dynamos wave"
    assert KnownPapers.open("nowhere.npz") is None


def test_the_printed_pairs_are_found_by_title(known_papers):
    known, ids = known_papers
    assert find_printed(known, ids) == ((ids[0], ids[1]), (ids[2], ids[3]))
    with pytest.raises(PaperNotFound, match="'A Spitzer census of the IC 348 nebula'") as error:
        find_printed(known, [*ids[:2], *ids[3:]])
    assert "Coulomb" not in str(error.value)


def test_the_model_cards_pooling_is_another_with_padding_alone():
    """Against transformers used plainly."""
    import torch

    encoder = open_encoder(ModelSpec(name="minilm"), compute=Compute(device="cpu", dtype="float32"))
    texts = ["Gas.", "Turbulence in a magnetized plasma, and a wave."]
    module, tokenizer = encoder._load_module(), encoder._load_tokenizer()
    rows, _ = tokenizer(texts)
    with torch.inference_mode():
        alone = [
            module(input_ids=torch.tensor(rows.padded(np.array([i]), 0))).last_hidden_state[0].numpy() for i in (0, 1)
        ]
    card = encoder.encode_padded(texts)
    # The longest text has no padding: it is as if alone, without its first position
    np.testing.assert_allclose(card[1], unit_rows(alone[1][1:].mean(axis=0)[None])[0], atol=1e-4)
    assert np.abs(card[0] - unit_rows(alone[0][1:].mean(axis=0)[None])[0]).max() > 0.01
    own = encoder.encode(texts, role=Role.DOCUMENT)
    pooled = both_poolings(encoder, [(texts[0], texts[1])] * 2, label="minilm")
    assert pooled is not None
    assert pooled.as_text[0] == pytest.approx(float(own[0] @ own[1]), abs=1e-5)
    assert pooled.as_card_two[0] == pytest.approx(float(card[0] @ card[1]), abs=1e-5)
    assert "minilm: nearest to the printed figures is" in pooled.nearer
    assert both_poolings(FakeEncoder(), [("gas", "star")] * 2, label="fake") is None


@pytest.mark.parametrize("measure", ["rank", "conditional"])
def test_long_names_stay_within_the_figure(measure, monkeypatch, tmp_path):
    a, b = spaces()
    names = (f"model_{'xyz_' * 30}0", f"model_{'xyz_' * 30}1")
    study = Study([a.vectors, b.vectors], a.ids, labels=names, measure=measure)
    drawn = []
    monkeypatch.setattr("embedsearch.plots.pairs.save_figure", lambda figure, path: drawn.append(figure))
    save_pairs(study.search(Search(n=2)), tmp_path / "x.png")
    figure = drawn[0]
    figure.canvas.draw()
    cosines_at = min(t.get_window_extent().x0 for t in figure.findobj(Text) if t.get_text() == "cosines")
    headings = [t.get_window_extent() for t in figure.findobj(Text) if " finds " in t.get_text()]
    assert len(headings) == 2
    assert max(box.x1 for box in headings) < cosines_at
