"""The files of a model on this machine, and the hashes that identify it. Imports neither torch nor transformers.

The hashes of a recipe, each SHA-256 in hex:

* weights: of the weight file; of several shards, of the lines "name:sha256" sorted by name; of a GGUF, of the file.
* tokenizer: of tokenizer.json; where that is missing, of the lines "name:sha256" of the vocabulary files that are
  there; of a GGUF, of the file, which holds its tokenizer.
* config: of config.json as JSON with sorted keys, without the keys that say who saved it and in which precision, and
  of what tokenizer_config.json says about added tokens and case; of a GGUF, of the file.

A large file in the hub's cache is stored under its SHA-256, which is taken from there: 27 GB are not read twice.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from embedsearch.errors import EncoderError, ModelNotFound

INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
FORGOTTEN = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Keys of config.json that do not change a vector's identity."""
TOKENIZER_SETTINGS = ("add_bos_token", "add_eos_token", "do_lower_case")


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of one model on this machine."""

    name: str
    """As it was asked for."""
    folder: Path
    gguf: str | None
    """The name of the GGUF file in the folder; None for safetensors."""
    weights: tuple[str, ...]
    """The names of the weight files in the folder."""
    source: str
    """Where they came from, for people."""
    commit: str | None = None
    """Of the hub's repository."""

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Read from disk once, at the first use."""
        return combined_hash({name: file_hash(self.folder / name) for name in self.weights})

    @functools.cached_property
    def tokenizer_sha256(self) -> str:
        """See the module's rule. Raises EncoderError where there is no tokenizer."""
        if self.gguf:
            return self.weights_sha256
        whole = self.folder / "tokenizer.json"
        names = [whole.name] if whole.is_file() else [n for n in VOCABULARIES if (self.folder / n).is_file()]
        if not names:
            raise EncoderError(f"expected tokenizer.json in {self.folder}, found no tokenizer")
        return combined_hash({name: file_hash(self.folder / name) for name in names})

    @functools.cached_property
    def config_sha256(self) -> str:
        """See the module's rule."""
        if self.gguf:
            return self.weights_sha256
        config = {key: value for key, value in self.json("config.json").items() if key not in FORGOTTEN}
        settings = self.json("tokenizer_config.json")
        matters = {key: settings[key] for key in TOKENIZER_SETTINGS if settings.get(key) is not None}
        return hashlib.sha256(json.dumps([config, matters], sort_keys=True).encode()).hexdigest()

    def json(self, name: str) -> dict[str, Any]:
        """The object in this JSON file; {} where there is no file. Raises EncoderError if it is no object."""
        data = read_json(self.folder / name)
        if data is None or isinstance(data, dict):
            return data or {}
        raise EncoderError(f"expected a JSON object in {self.folder / name}, found a {type(data).__name__}")


def read_json(path: Path) -> Any:
    """What the file holds, or None where there is none. Raises EncoderError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise EncoderError(f"cannot read {path} as JSON: {error}") from error


def combined_hash(hashes: dict[str, str]) -> str:
    """One file's own hash, or the hash of the lines "name:sha256" of several."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("\n".join(f"{name}:{hashes[name]}" for name in sorted(hashes)).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file; read once in a process as long as its size and time stay the same."""
    target = path.resolve()
    if target.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", target.name):
        return target.name
    state = target.stat()
    return _hash(target, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _hash(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_folder(name: str, folder: Path, *, source: str, commit: str | None = None) -> ModelFiles:
    """The model in this folder: safetensors with a config.json, else its one GGUF file.

    Raises ModelNotFound if there is none, EncoderError if its weights are pickled.
    """
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    weights = _safetensors(folder, files)
    if weights:
        if "config.json" not in files:
            raise ModelNotFound(f"expected config.json beside {weights[0]} in {folder}, found none")
        return ModelFiles(name=name, folder=folder, gguf=None, weights=weights, source=source, commit=commit)
    ggufs = [file for file in files if file.endswith(".gguf")]
    if len(ggufs) == 1:
        return ModelFiles(name=name, folder=folder, gguf=ggufs[0], weights=(ggufs[0],), source=source, commit=commit)
    if ggufs:
        raise ModelNotFound(f"expected one model in {folder}, found {len(ggufs)} GGUF files: name one of them")
    refuse_pickled(str(folder), files)
    raise ModelNotFound(f"expected model.safetensors or a GGUF file in {folder}, found neither")


def _safetensors(folder: Path, files: list[str]) -> tuple[str, ...]:
    if INDEX not in files:
        return ("model.safetensors",) if "model.safetensors" in files else ()
    index = read_json(folder / INDEX)
    shards = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
    missing = [shard for shard in shards if shard not in files]
    if missing or not shards:
        raise ModelNotFound(f"{folder / INDEX} names {len(shards)} files, of which {len(missing)} are missing")
    return tuple(shards)


def refuse_pickled(where: str, files: Iterable[str]) -> None:
    """Raise EncoderError if a model's only weights are pickled."""
    pickled = [file for file in files if file.endswith(PICKLED)]
    if pickled:
        raise EncoderError(
            f"{where} has only pickled weights ({pickled[0]}), which can run code when they are loaded: expected "
            "safetensors or GGUF. On the hub a converted copy often stands in a pull request: try its revision, such "
            "as refs/pr/1"
        )


def from_file(name: str, path: Path, *, source: str) -> ModelFiles:
    """The model in this GGUF file. Raises EncoderError if it is of another kind."""
    if path.suffix != ".gguf":
        raise EncoderError(f"expected a folder or a GGUF file, found {path}")
    return ModelFiles(name=name, folder=path.parent, gguf=path.name, weights=(path.name,), source=source)


def from_path(name: str, path: Path, *, source: str) -> ModelFiles:
    """The model in this folder or GGUF file."""
    return in_folder(name, path, source=source) if path.is_dir() else from_file(name, path, source=source)


GGUF_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
GGUF_STRING, GGUF_ARRAY = 8, 9


def gguf_header(path: Path) -> dict[str, Any]:
    """What a GGUF file says about itself, up to its vocabulary: numbers and strings by key.

    Read here because it is the first kilobyte; the package `gguf` takes seconds to list the vocabulary as well.
    Raises EncoderError if it is no GGUF of version 2 or 3.
    """
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            magic, version, _n_tensors, n_keys = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise EncoderError(f"expected a GGUF file of version 2 or 3 at {path}, found another file or version")
            for _ in range(n_keys):
                key = _gguf_text(file)
                (kind,) = struct.unpack("<I", file.read(4))
                if kind == GGUF_ARRAY and key.startswith("tokenizer."):
                    break
                found[key] = _gguf_value(file, kind)
    except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError) as error:
        raise EncoderError(f"the GGUF file {path} is cut or damaged") from error
    return found


def _gguf_text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode()


def _gguf_value(file: BinaryIO, kind: int) -> Any:
    if kind == GGUF_STRING:
        return _gguf_text(file)
    if kind == GGUF_ARRAY:
        inner, length = struct.unpack("<IQ", file.read(12))
        return [_gguf_value(file, inner) for _ in range(length)]
    form = GGUF_NUMBERS[kind]
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
