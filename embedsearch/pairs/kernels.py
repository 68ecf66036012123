"""The compiled loops over a block of cosines. Importing this module loads numba; the first use on a machine compiles.

A block is (s, r, c) float32, one layer a space. `step` is 1 for a block on the diagonal, where row i begins at column
i + 1, and 0 elsewhere. Each call takes the rows from `top` to `bottom` and releases the interpreter's lock, so that
threads can share a block. Loops run from 0 over a slice, and random indices are unsigned: where an index might count
from the end, the loop is not compiled for wide registers and takes eight times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # The sums may be added in any order and there is no NaN (vectors were checked): so they can use wide registers.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "nnan", "nsz", "contract"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder that it could write its cache to
        compiled = numba.njit(**options)(function)
    return compiled


@_compiled
def measure(block, top, bottom, step, extremes, sums):  # type: ignore[no-untyped-def]
    """Into `extremes` (s, 2) float32 minimum and maximum of each space, into `sums` (s, 3) float64 the sums of the
    cosines, of their squares and of their products with the first space's.
    """
    keys = np.empty(2, np.int32)
    for s in range(block.shape[0]):
        least, greatest = np.int32(0x7F800000), np.int32(-0x7F800001)  # of +inf and -inf
        total, squares, products = 0.0, 0.0, 0.0
        for i in range(top, bottom):
            row, lead = block[s, i, (i + 1) * step :], block[0, i, (i + 1) * step :]
            bits = row.view(np.int32)
            for j in range(bits.size):
                # Floats as integers of the same order: the least of integers is found in wide registers.
                key = np.int32(bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
                least, greatest = min(least, key), max(greatest, key)
            for j in range(row.size):
                cosine = np.float64(row[j])
                total += cosine
                squares += cosine * cosine
                products += cosine * np.float64(lead[j])
        keys[0], keys[1] = least, greatest
        for k in range(2):
            keys[k] ^= (keys[k] >> np.int32(31)) & np.int32(0x7FFFFFFF)
        extremes[s] = keys.view(np.float32)
        sums[s, 0], sums[s, 1], sums[s, 2] = total, squares, products


@_compiled
def to_bins(row, scale, first, bins):  # type: ignore[no-untyped-def]
    """Into `bins` (c,) int32 the bins of a row of cosines: `scale` of them to a cosine, counted from `first`."""
    for j in range(row.size):
        bins[j] = np.int32(math.floor(min(max(row[j], np.float32(-1)), np.float32(1)) * scale)) - first


@_compiled
def count(block, top, bottom, step, scale, first, row_group, column_group, table):  # type: ignore[no-untyped-def]
    """Add the cosines of `block` (r, c) to `table` (2, m) uint32: pairs of two groups, then pairs of one.

    A group of -1 is the same as no other; no groups (0,): all pairs are of two.
    """
    m = np.int32(table.shape[1])
    flat = table.ravel()
    bins = np.empty(block.shape[1], np.int32)
    for i in range(top, bottom):
        row = block[i, (i + 1) * step :]
        to_bins(row, scale, first, bins)
        if row_group.size and row_group[i] >= 0:
            group, others = row_group[i], column_group[(i + 1) * step :]
            for j in range(row.size):
                bins[j] += m * np.int32(others[j] == group)
        for j in range(row.size):
            flat[np.uint32(bins[j])] += np.uint32(1)


@_compiled
def count_joint(lead, other, top, bottom, step, scales, firsts, table, carry):  # type: ignore[no-untyped-def]
    """Add pairs of cosines of two blocks (r, c) to `table` (a, b) uint16, and what that cannot hold to `carry` (a, b).

    The table is hit at random, so it pays that half as many bytes of it are to be kept near the processor. Returns
    whether anything was carried.
    """
    carried = False
    width = np.int32(table.shape[1])
    flat, flat_carry = table.ravel(), carry.ravel()
    cells, columns = np.empty(lead.shape[1], np.int32), np.empty(lead.shape[1], np.int32)
    for i in range(top, bottom):
        row = lead[i, (i + 1) * step :]
        to_bins(row, scales[0], firsts[0], cells)
        to_bins(other[i, (i + 1) * step :], scales[1], firsts[1], columns)
        for j in range(row.size):
            cells[j] = np.int32(cells[j] * width + columns[j])
        for j in range(row.size):
            cell = np.uint32(cells[j])
            n = np.uint16(flat[cell] + np.uint16(1))
            flat[cell] = n
            if n == 0:
                flat_carry[cell] += 65536
                carried = True
    return carried


@_compiled
def which_bin(row, edges, bins):  # type: ignore[no-untyped-def]
    """Into `bins` (c,) int32 which bin of `edges` (b + 1,) float32 holds each cosine; the outer ones are open."""
    for j in range(row.size):
        bins[j] = 0
    for k in range(1, edges.size - 1):
        edge = edges[k]
        for j in range(row.size):
            bins[j] += np.int32(row[j] >= edge)


@_compiled
def bin_rows(block, top, bottom, step, by, edges, fine, counts, sums):  # type: ignore[no-untyped-def]
    """Count the pairs in the bins of `edges` (b + 1,) float32 of the cosine of space `by`, and sum them by row.

    `fine` (s, 3) float64 is each space's start, bins to a cosine, and shift. Adds to `counts` (s, b, m) uint32, and to
    `sums` (r, b, 1 + 2 s) float64: pairs, and for each space the sums of cosine - shift and of its square.
    """
    last = np.int64(counts.shape[2] - 1)
    bins = np.empty(block.shape[2], np.int32)
    for i in range(top, bottom):
        begin, mine = (i + 1) * step, sums[i]
        lead = block[by, i, begin:]
        which_bin(lead, edges, bins)
        for j in range(lead.size):
            mine[np.uint32(bins[j]), 0] += 1.0
        for s in range(block.shape[0]):
            row, table, start, scale, shift = block[s, i, begin:], counts[s], fine[s, 0], fine[s, 1], fine[s, 2]
            for j in range(row.size):
                b, cosine = np.uint32(bins[j]), np.float64(row[j])
                place = np.int64((cosine - start) * scale)
                table[b, np.uint32(min(max(place, np.int64(0)), last))] += np.uint32(1)
                mine[b, 1 + 2 * s] += cosine - shift
                mine[b, 2 + 2 * s] += (cosine - shift) * (cosine - shift)


@_compiled
def bin_columns(block, left, right, step, by, edges, fine, sums):  # type: ignore[no-untyped-def]
    """As `bin_rows`, the sums alone, of the columns from `left` to `right`: `sums` is (c, b, 1 + 2 s) float64."""
    bins = np.empty(block.shape[2], np.int32)
    for i in range(block.shape[1]):
        begin = max(left, (i + 1) * step)
        if begin >= right:
            continue
        lead = block[by, i, begin:right]
        which_bin(lead, edges, bins)
        mine = sums[begin:right]
        for j in range(lead.size):
            mine[j, np.uint32(bins[j]), 0] += 1.0
        for s in range(block.shape[0]):
            row, shift = block[s, i, begin:right], fine[s, 2]
            for j in range(row.size):
                b, x = np.uint32(bins[j]), np.float64(row[j]) - shift
                mine[j, b, 1 + 2 * s] += x
                mine[j, b, 2 + 2 * s] += x * x
