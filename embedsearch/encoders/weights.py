"""From a model's name to verified files on this machine, without importing torch or transformers.

A name is looked up in this order: a named model (its Python package, then the hub); a path; a hub id. On the hub's side
the cache on this machine comes first, and the hub is asked only for what is not in it.
"""

from __future__ import annotations

import difflib
import importlib.util
import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedsearch.encoders.files import INDEX, ModelFiles, combined_hash, from_path, in_folder, refuse_pickled
from embedsearch.encoders.models import NAMED_MODELS, NAMED_SERVICES, NamedModel
from embedsearch.encoders.protocol import ModelSpec, Recipe
from embedsearch.errors import EncoderError, ModelNotFound

log = logging.getLogger("embedsearch")

WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.py"]
UNWANTED = ["onnx/*", "openvino/*", "original/*", "consolidated*", "*/model*.safetensors"]
"""Copies of the same weights for other programs."""
MOST_SIBLINGS = 20


def resolve(spec: ModelSpec, expected: Recipe | None = None) -> ModelFiles:
    """The files of the model that `spec` names.

    With `expected`, the first place whose weights have its hash is taken, so that a model is found again where its
    name now means something else, or where its folder, GGUF or package has moved; where none has, the first place that
    holds the model at all (its recipe then differs, which is for the caller to say).

    Raises ModelNotFound if there is no such model or it cannot be fetched, EncoderError if its weights are pickled or
    are not those that the name stands for.
    """
    first = None
    try:
        for files in _places(spec, expected):
            if expected is None or files.weights_sha256 == expected.weights:
                return files
            first = first or files
    except ModelNotFound:
        if first is None:
            raise
    if first is None:
        raise ModelNotFound(_advice(spec.name))
    return first


def find_local(model: NamedModel) -> ModelFiles | None:
    """The files of a named model where they are on this machine already, neither read nor verified; else None."""
    try:
        return _package(model) or next(_cached(model.hub_id, None, every=False, name=model.name), None)
    except EncoderError:
        return None  # what is here cannot be used


def _places(spec: ModelSpec, expected: Recipe | None) -> Iterator[ModelFiles]:
    model = NAMED_MODELS.get(spec.name)
    path = Path(spec.name).expanduser()
    if model is not None:
        files = _package(model)
        # The package is one fixed revision: another one that was asked for by name is the hub's.
        if files and (spec.revision is None or expected is not None):
            yield _verified(model, files)
    elif path.exists():
        yield from_path(spec.name, path.resolve(), source="folder" if path.is_dir() else "file")
    repo = model.hub_id if model else spec.name
    on_hub = model is not None or (not path.exists() and _looks_like_hub_id(repo))
    if on_hub:
        yield from _cached(repo, spec.revision, every=expected is not None, name=spec.name)
    if expected is not None:
        yield from _moved(path, expected)
    if on_hub:
        yield from _fetched(repo, spec.revision, expected, spec.name)


def _package(model: NamedModel) -> ModelFiles | None:
    if model.package is None:
        return None
    # find_spec of a top-level package imports nothing; importing it would bring sentence-transformers or llama.cpp.
    found = importlib.util.find_spec(model.package.module)
    for root in (found.submodule_search_locations or ()) if found else ():
        path = Path(root) / model.package.path
        if path.exists():
            return from_path(model.name, path, source=f"package {model.package.distribution}")
    return None


def _verified(model: NamedModel, files: ModelFiles) -> ModelFiles:
    package = model.package
    if package and files.weights_sha256 != package.sha256:
        raise EncoderError(
            f"the weights of {model.name} in {files.folder} have SHA-256 {files.weights_sha256[:12]}…, expected "
            f"{package.sha256[:12]}…: install them again with {package.install} --force-reinstall"
        )
    return files


def _moved(path: Path, expected: Recipe) -> Iterator[ModelFiles]:
    """Models with the expected weights in sensible places: packages, the current folder, beside where it was."""
    for model in NAMED_MODELS.values():
        files = _package(model)
        if files and files.weights_sha256 == expected.weights:
            yield files
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    nearby = [Path(path.name), Path(path.parent.name) / path.name, *beside[:MOST_SIBLINGS]]
    for candidate in nearby:
        if candidate.is_dir() or (candidate.suffix == ".gguf" and candidate.is_file()):
            try:
                files = from_path(str(path), candidate.resolve(), source="found again by its hash")
                if files.weights_sha256 == expected.weights:
                    yield files
            except (EncoderError, OSError):
                continue  # not a model, or not readable: it is not the one that is looked for


def _looks_like_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and name[0] != "." and not name.endswith(".gguf")


def _cached(repo: str, revision: str | None, *, every: bool, name: str) -> Iterator[ModelFiles]:
    """What the hub's cache on this machine has whole of this revision; with `every`, then of the others."""
    from huggingface_hub import snapshot_download  # here: slow to import, and most models need no hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        # A snapshot without the files that were left out on purpose counts as incomplete, and is good enough.
        incomplete = getattr(error, "snapshot_path", None)
        if incomplete is None:
            return
        folder = Path(incomplete)
    others = sorted(set(folder.parent.iterdir()) - {folder}) if every else []
    for snapshot in itertools.chain([folder], others):
        try:
            yield in_folder(name, snapshot, source=f"hub {repo}", commit=snapshot.name)
        except ModelNotFound:
            continue  # half downloaded: go on to the hub


def _fetched(repo: str, revision: str | None, expected: Recipe | None, name: str) -> Iterator[ModelFiles]:
    """What the hub has, downloaded at one commit. With `expected`, only if the hub says that its weights are those."""
    from huggingface_hub import HfApi, errors, snapshot_download

    # The root of its HTTP client's errors, which it lets through. Which client that is depends on its version.
    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        weights = _weights_on_hub(repo, info.siblings or [])
        if expected is not None and combined_hash({w.rfilename: _sha256(w) for w in weights}) != expected.weights:
            raise ModelNotFound(f"the hub's {repo} at {info.sha} has other weights than the index: name the revision")
        log.info("downloading %s at %s: %.2f GB", repo, info.sha, sum(w.size or 0 for w in weights) / 1e9)
        folder = snapshot_download(repo, revision=info.sha, allow_patterns=WANTED, ignore_patterns=UNWANTED)
    except errors.OfflineModeIsEnabled:
        reason = f"{repo} is not in the hub's cache, and HF_HUB_OFFLINE is set"
        raise ModelNotFound(_advice(name, reason)) from None
    except ModelNotFound:
        raise
    except (http_error, errors.HFValidationError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelNotFound(_advice(name, f"{repo} cannot be fetched from the hub ({first_line})")) from error
    yield in_folder(name, Path(folder), source=f"hub {repo}", commit=info.sha)


def _weights_on_hub(repo: str, siblings: list[Any]) -> list[Any]:
    """Those of a repository's files that are the weights; looked at before gigabytes are fetched in vain."""
    names = [sibling.rfilename for sibling in siblings]
    pattern = r"model-\d+-of-\d+\.safetensors" if INDEX in names else r"model\.safetensors"
    weights = [sibling for sibling in siblings if re.fullmatch(pattern, sibling.rfilename)]
    if not weights and any(name.endswith(".gguf") for name in names):
        raise ModelNotFound(f"the hub's {repo} has GGUF files only: download one of them and name its path")
    if not weights:
        refuse_pickled(f"the hub's {repo}", names)
        raise ModelNotFound(f"expected model.safetensors in the hub's {repo}, found none")
    return weights


def _sha256(sibling: Any) -> str:
    return str(sibling.lfs.sha256) if sibling.lfs else ""


def _advice(name: str, reason: str = "") -> str:
    """One line: what was looked for, what was found, what to do."""
    model = NAMED_MODELS.get(name)
    if model is not None:
        install = f": {model.package.install}, or go online once" if model.package else ": go online once"
        return f"no files of the model {name!r} here ({reason}){install} ({model.download})"
    if _looks_like_hub_id(name):
        return f"no model {name!r}: there is no such folder, and {reason}"
    if "/" in name or name.endswith(".gguf") or name.startswith(("~", ".")):
        return f"no model {name!r}: there is no such folder or file"
    names = [*NAMED_MODELS, *NAMED_SERVICES]
    known = {name: name for name in names}
    known |= {model.hub_id.split("/")[1].lower(): model.name for model in NAMED_MODELS.values()}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {known[close[0]]!r}? " if close else ""
    return (
        f"no model {name!r}: {hint}there are {', '.join(names)}, a folder, a GGUF file, "
        "a hub id such as org/name, or openai:NAME"
    )
