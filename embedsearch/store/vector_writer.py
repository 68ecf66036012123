"""A space as a file of vectors, for others and for `Space.open`, which finds recipe and model again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embedsearch.errors import OptionError
from embedsearch.store.array_files import BESIDE
from embedsearch.store.atomic import disk_errors, new_path
from embedsearch.store.space import Space
from embedsearch.store.vector_files import split_name

DTYPES = ("float16", "float32")


def write_space(path: str | Path, space: Space, *, dtype: str = "float32") -> None:
    """Write the ids and unit rows of `space` to `path`, block by block; the file is whole or not there.

    The suffix says how: .npz (arrays `ids`, `vectors`, and the texts `model` and `recipe`), .parquet (columns `id`,
    `embedding`; model and recipe in the schema's metadata), .jsonl (an object a line; the model in each, the recipe in
    the first), .npy (with NAME.ids.json beside it, which is written first). Raises OptionError for other suffixes and
    dtypes, StoreError where the disk refuses.
    """
    path = Path(path)
    check_target(path)
    if dtype not in DTYPES:
        raise OptionError(f"expected a dtype of {' or '.join(DTYPES)}, found {dtype!r}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".npy":
        noted = {"ids": list(space.ids), "model": space.model_name, "recipe": dict(space.recipe)}
        with new_path(path.with_name(BESIDE[0].format(path.stem))) as temporary:
            temporary.write_bytes(msgspec.json.encode(noted))
    with new_path(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, space, np.dtype(dtype))


def check_target(path: Path) -> None:
    """Raise OptionError for a name that tells no format that is written."""
    if path.suffix.lower() not in _WRITERS or split_name(path)[1] != path.suffix.lower():
        raise OptionError(f"expected a file to write ({', '.join(_WRITERS)}), found {path.name!r}")


def _npz(path: Path, space: Space, dtype: np.dtype[Any]) -> None:
    texts = {"model": space.model_name, "recipe": json.dumps(dict(space.recipe))}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"ids": np.array(space.ids), **{k: np.array(v) for k, v in texts.items()}}.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        with archive.open("vectors.npy", "w", force_zip64=True) as file:
            _array(file, space, dtype)


def _npy(path: Path, space: Space, dtype: np.dtype[Any]) -> None:
    with path.open("wb") as file:
        _array(file, space, dtype)


def _array(file: Any, space: Space, dtype: np.dtype[Any]) -> None:
    """np.save, of what is never in memory as a whole."""
    header = {"shape": (len(space), space.dim), "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
    np.lib.format.write_array_header_2_0(file, header)
    for _, rows in space.blocks():
        file.write(np.ascontiguousarray(rows, dtype).tobytes())


def _jsonl(path: Path, space: Space, dtype: np.dtype[Any]) -> None:
    # NumPy prints the shortest text of a float32; as a Python float it would have twice as many digits.
    with path.open("wb") as file:
        for first, rows in space.blocks(256):
            for i, row in enumerate(rows.astype(dtype), first):
                noted = {"recipe": dict(space.recipe)} if i == 0 else {}
                head = msgspec.json.encode({"id": space.ids[i], "model": space.model_name, **noted})
                numbers = ",".join(map(str, row))
                file.write(head[:-1] + b', "embedding": [' + numbers.encode() + b"]}\n")


def _parquet(path: Path, space: Space, dtype: np.dtype[Any]) -> None:
    import pyarrow  # half a second of import that only Parquet needs
    import pyarrow.parquet

    numbers = pyarrow.float16() if dtype == np.float16 else pyarrow.float32()
    schema = pyarrow.schema(
        [("id", pyarrow.string()), ("embedding", pyarrow.list_(numbers, space.dim))],
        metadata={"model": space.model_name, "recipe": json.dumps(dict(space.recipe))},
    )
    # Vectors have no repetitions to find, and a dictionary of them would only take time.
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for first, rows in space.blocks():
            flat = pyarrow.array(rows.astype(dtype).ravel())
            vectors = pyarrow.FixedSizeListArray.from_arrays(flat, space.dim)
            ids = pyarrow.array(space.ids[first : first + len(rows)], pyarrow.string())
            writer.write_batch(pyarrow.record_batch([ids, vectors], schema=schema))


_WRITERS: dict[str, Callable[[Path, Space, np.dtype[Any]], None]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".parquet": _parquet,
    ".jsonl": _jsonl,
}
