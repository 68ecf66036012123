import pytest
import torch

from embedsearch.encoders.pooling import mask_from_lengths, pool
from embedsearch.encoders.protocol import Pooling

HIDDEN = torch.tensor([[[1.0], [2.0], [6.0], [99.0]], [[5.0], [7.0], [99.0], [99.0]]])
LENGTHS = torch.tensor([3, 2])


@pytest.mark.parametrize(
    ("pooling", "has_bos", "expected"),
    [
        (Pooling.MEAN, True, [3.0, 6.0]),
        (Pooling.MEAN_WITHOUT_BOS, True, [4.0, 7.0]),
        (Pooling.MEAN_WITHOUT_BOS, False, [3.0, 6.0]),
        (Pooling.CLS, True, [1.0, 5.0]),
        (Pooling.LAST_TOKEN, True, [6.0, 7.0]),
    ],
)
def test_each_pooling_by_hand(pooling, has_bos, expected):
    assert pool(HIDDEN, LENGTHS, pooling=pooling, has_bos=has_bos)[:, 0].tolist() == expected


def test_a_text_of_bos_alone_keeps_it():
    pooled = pool(HIDDEN, torch.tensor([1, 2]), pooling=Pooling.MEAN_WITHOUT_BOS, has_bos=True)
    assert pooled[:, 0].tolist() == [1.0, 7.0]


@pytest.mark.parametrize("pooling", Pooling)
def test_what_stands_in_the_padding_does_not_count(pooling):
    dirty = HIDDEN.clone()
    dirty[0, 3:] = torch.nan
    dirty[1, 2:] = torch.inf
    clean = pool(HIDDEN, LENGTHS, pooling=pooling, has_bos=True)
    assert torch.equal(pool(dirty, LENGTHS, pooling=pooling, has_bos=True), clean)


def test_half_precision_is_summed_in_float32():
    hidden = torch.full((1, 4096, 1), 256.0, dtype=torch.float16)  # the sum is beyond what float16 can hold
    pooled = pool(hidden, torch.tensor([4096]), pooling=Pooling.MEAN, has_bos=False)
    assert pooled.dtype == torch.float32
    assert pooled.item() == 256.0


def test_mask_from_lengths():
    assert mask_from_lengths(torch.tensor([0, 2]), 3).tolist() == [[False] * 3, [True, True, False]]
