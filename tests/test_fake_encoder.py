import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.encoders import Encoder, Role
from embedsearch.errors import BadVector


def test_vectors_can_be_computed_by_hand():
    vectors = FakeEncoder().encode(["Star star gas", "nothing known"], role=Role.DOCUMENT)
    np.testing.assert_allclose(vectors[0], np.array([2, 0, 0, 0, 0, 0, 1, 0]) / np.sqrt(5), atol=1e-7)
    assert vectors[1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


def test_it_is_an_encoder_and_counts():
    encoder: Encoder = FakeEncoder(max_tokens=2)
    seen = []
    encoded = encoder.encode_counted(["star", "gas gas gas"], role=Role.QUERY, progress=lambda *done: seen.append(done))
    assert encoded.n_tokens.tolist() == [1, 3]
    assert encoded.truncated.tolist() == [False, True]
    assert seen == [(2, 4)]
    assert (encoder.n_calls, encoder.n_texts, encoder.n_queries) == (1, 2, 2)


def test_another_name_is_another_recipe():
    assert FakeEncoder("a").recipe.differences(FakeEncoder("b").recipe)
    assert FakeEncoder("a").recipe == FakeEncoder("a").recipe


def test_no_texts_give_no_vectors():
    assert FakeEncoder().encode([], role=Role.DOCUMENT).shape == (0, 8)


def test_nan_is_refused_with_its_position():
    with pytest.raises(BadVector, match="position 1") as caught:
        FakeEncoder().encode(["star", "NAN"], role=Role.DOCUMENT)
    assert caught.value.position == 1


def test_it_fails_at_the_text_that_it_was_told():
    encoder = FakeEncoder(fail_at=3, failure=KeyboardInterrupt())
    encoder.encode(["a", "b"], role=Role.DOCUMENT)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["c", "d"], role=Role.DOCUMENT)


def test_a_subprocess_makes_the_same_vectors():
    code = "from fake_encoder import *; print(FakeEncoder().encode(['star gas'], role=Role.QUERY).tobytes().hex())"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert done.stdout.strip() == FakeEncoder().encode(["star gas"], role=Role.QUERY).tobytes().hex()
