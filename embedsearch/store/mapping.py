"""Many files as one array: each is mapped at its place in one span of addresses, and none is kept open.

A `numpy.memmap` holds a file descriptor as long as it lives, of which a process has a thousand or so; a store of ten
million papers has 2,500 files. Files that lie at equal distances can be read with one index: rows from a hundred files
take as long as from one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROT_NONE, MAP_FIXED, MAP_FAILED = 0, 0x10, ctypes.c_void_p(-1).value  # as Linux and macOS have them

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_int64)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def most_maps() -> int:
    """How many maps this system allows a process. Each file that is mapped takes one, as the program's own do."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):  # not Linux, or not shown
        return 65_530  # Linux's usual one


class Places:
    """`n` places of at least `size` bytes each, that files are mapped to; `stride` is from one to the next.

    A place that nothing was put in must not be touched: that ends the process. The whole is given back when neither
    this nor an array of `all_bytes` is left. A file that is cut short while it is mapped ends the process that reads
    what it has lost, as with any mapping.
    """

    def __init__(self, n: int, size: int) -> None:
        """Raises OSError where the process may not have so many addresses."""
        self.stride = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._length = n * self.stride
        self._address = _map(None, self._length, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANON, -1)
        # At the end of the interpreter the system does it: other things that end then may still read.
        weakref.finalize(self, _libc.munmap, self._address, self._length).atexit = False

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What makes NumPy's arrays hold this object."""
        return {"shape": (self._length,), "typestr": "|u1", "data": (self._address, True), "version": 3}

    def all_bytes(self) -> NDArray[np.uint8]:
        """All of it, read-only: (n * stride,)."""
        return np.asarray(self)

    def put_file(self, place: int, file: int, size: int) -> None:
        """Map the first `size` bytes of the open `file`, which has so many; it may be closed then. Raises OSError."""
        _map(self._at(place), size, mmap.PROT_READ, mmap.MAP_SHARED | MAP_FIXED, file)

    def put_bytes(self, place: int, data: bytes, *, offset: int) -> None:
        """Put a copy of `data` there, from byte `offset` on. Raises OSError."""
        kept = mmap.PROT_READ | mmap.PROT_WRITE
        _map(self._at(place), self.stride, kept, mmap.MAP_PRIVATE | mmap.MAP_ANON | MAP_FIXED, -1)
        ctypes.memmove(self._at(place) + offset, data, len(data))

    def _at(self, place: int) -> int:
        address: int = self._address + place * self.stride
        return address


def _map(address: int | None, length: int, protection: int, flags: int, file: int) -> int:
    found: int = _libc.mmap(address, length, protection, flags, file, 0)
    if found == MAP_FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
