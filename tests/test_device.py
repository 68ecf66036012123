import numpy as np
import pytest
import torch

from embedsearch.device import DTYPES, device_name, pick_device, pick_dtype, score_blocks
from embedsearch.errors import OptionError

CPU = torch.device("cpu")


def test_auto_takes_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda:0")
    assert pick_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda:9", "mps:3", "tpu", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(OptionError, match="expected auto or one of cpu"):
        pick_device(name)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_dtype_is_bfloat16_where_it_is_native(monkeypatch, native, expected):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert pick_dtype("auto", CPU) == expected
    assert pick_dtype("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), torch.bfloat16), ((7, 5), torch.float32)])
def test_auto_dtype_on_cuda_depends_on_its_generation(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_dtype("auto", torch.device("cuda:0")) == expected


def test_dtypes_by_name():
    assert [pick_dtype(name, CPU) for name in DTYPES] == list(DTYPES.values())
    with pytest.raises(OptionError, match="'int8': expected auto or one of float32, bfloat16, float16"):
        pick_dtype("int8", CPU)


def test_the_device_has_a_name():
    assert "cpu" in device_name(CPU)


@pytest.mark.parametrize("side", [1, 3, 100])
def test_blocks_are_the_product(side):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    a.flags.writeable = False  # as a memory-mapped file is
    result = np.full((7, 4), np.nan, np.float32)
    for i, j, block in score_blocks(a, b, device=CPU, side=side):
        assert block.dtype == np.float32
        assert max(block.shape) <= side
        result[i : i + len(block), j : j + block.shape[1]] = block
    np.testing.assert_allclose(result, a @ b.T, atol=1e-5)


def test_without_b_only_the_upper_triangle():
    a = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    result = np.zeros((8, 8), np.float32)
    starts = []
    for i, j, block in score_blocks(a, side=3):
        starts.append((i, j))
        result[i : i + len(block), j : j + block.shape[1]] = block
    assert starts == [(0, 0), (0, 3), (0, 6), (3, 3), (3, 6), (6, 6)]
    np.testing.assert_allclose(np.triu(result, 1), np.triu(a @ a.T, 1), atol=1e-5)


def test_no_rows_no_blocks():
    assert list(score_blocks(np.empty((0, 5), np.float32))) == []


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match=r"found arrays of shapes \(2, 3\) and \(2, 4\)"):
        score_blocks(np.empty((2, 3), np.float32), np.empty((2, 4), np.float32))
    with pytest.raises(OptionError, match="at least 1, was 0"):
        score_blocks(np.empty((2, 3), np.float32), side=0)
