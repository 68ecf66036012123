"""LoRA adapters: found, checked against their base, put on it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from embedsearch.encoders.files import ModelFiles, file_hash, read_json
from embedsearch.encoders.models import NAMED_MODELS
from embedsearch.encoders.weights import _looks_like_hub_id
from embedsearch.errors import EncoderError, MissingExtra

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base_model.json"
"""What `describe_base` gives, beside an adapter that was trained here: peft itself notes only where the base lay."""
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter in a folder."""

    folder: Path
    from_hub: bool
    base: str
    """What it says of where its base is."""
    base_weights: str | None
    """SHA-256 of the base's weights, where it is known."""

    @property
    def weights_sha256(self) -> str:
        """Of its own weights."""
        return file_hash(self.folder / WEIGHTS)


def describe_base(name: str, files: ModelFiles) -> dict[str, str]:
    """What is to be written as BASE beside an adapter on the model of this name, as JSON."""
    return {"name": name, "weights": files.weights_sha256}


def find_adapter(name: str, revision: str | None = None) -> Adapter | None:
    """The adapter in the folder, or the hub's repository, of this name; None where there is none.

    Raises EncoderError for one that is no LoRA or has only pickled weights.
    """
    folder = _folder(name, revision)
    config = read_json(folder / CONFIG) if folder else None
    # A merged model may lie beside its adapter: it is whole.
    if folder is None or config is None or (folder / "config.json").exists():
        return None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise EncoderError(f"expected a LoRA adapter in {folder / CONFIG}, found {kind}")
    if not (folder / WEIGHTS).is_file():
        pickled = ": those in *.bin are pickled, and are not read" if any(folder.glob("*.bin")) else ""
        raise EncoderError(f"expected the adapter's weights in {folder / WEIGHTS}, found no such file{pickled}")
    noted = read_json(folder / BASE)
    noted = noted if isinstance(noted, dict) else {}
    return Adapter(
        folder=folder,
        from_hub=not Path(name).expanduser().exists(),
        base=str(noted.get("name") or config.get("base_model_name_or_path") or ""),
        base_weights=str(noted["weights"]) if noted.get("weights") else None,
    )


def _folder(name: str, revision: str | None) -> Path | None:
    path = Path(name).expanduser()
    if name in NAMED_MODELS:
        return None
    if path.exists() or not _looks_like_hub_id(name):
        return path
    from huggingface_hub import errors, hf_hub_download, snapshot_download

    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except errors.LocalEntryNotFoundError as error:
        # A snapshot without the files that were left out on purpose counts as incomplete, and is good enough.
        incomplete = getattr(error, "snapshot_path", None)
        if incomplete is not None:
            return Path(incomplete)
    try:
        hf_hub_download(name, CONFIG, revision=revision)
        return Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS, BASE]))
    # No adapter, or no hub: whoever looks for a whole model of this name says which.
    except (http_error, errors.OfflineModeIsEnabled, errors.HFValidationError, OSError):
        return None


def base_name(adapter: Adapter) -> str:
    """Where its base is. Raises EncoderError if it does not say."""
    if not adapter.base:
        raise EncoderError(f"the adapter {adapter.folder} does not say which model it is for: name it with --base")
    return adapter.base


def check_base(adapter: Adapter, files: ModelFiles) -> None:
    """Raise EncoderError where the adapter was trained on other weights, if it says on which."""
    if adapter.base_weights is not None and adapter.base_weights != files.weights_sha256:
        raise EncoderError(
            f"expected the adapter's base, weights {adapter.base_weights[:12]}…, found {files.name} with "
            f"{files.weights_sha256[:12]}…: name the model that {adapter.folder} was trained on with --base"
        )


def apply_adapter(module: Any, adapter: Adapter, *, dtype: torch.dtype, merged: bool) -> Any:
    """The model with the adapter's layers in it, or with its change added to the weights; in eval mode.

    Raises EncoderError where the adapter's shapes are another model's, MissingExtra without peft.
    """
    if not importlib.util.find_spec("peft"):
        raise MissingExtra(f"{adapter.folder} is a LoRA adapter, which needs peft: pip install 'embedsearch[train]'")
    from peft import PeftModel

    stated = _check_shapes(module, adapter)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuned = PeftModel.from_pretrained(module, str(adapter.folder), autocast_adapter_dtype=False)
            _check_used(stated, tuned.state_dict(), adapter)
            inner: Any = tuned.merge_and_unload() if merged else tuned.base_model.model
    # What peft raises on a configuration that does not fit the model or is of a later version.
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise EncoderError(f"cannot put the adapter {adapter.folder} on its base: {reason}") from error
    for weights in inner.parameters():
        weights.data = weights.data.to(dtype)
    inner.requires_grad_(False)
    return inner.eval()


def _check_shapes(module: Any, adapter: Adapter) -> set[str]:
    """The names of its weights. peft leaves out what does not fit, and only warns of it."""
    modules = dict(module.named_modules())
    try:
        with safe_open(adapter.folder / WEIGHTS, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"cannot read the adapter's weights {adapter.folder / WEIGHTS}: {error}") from error
    for key, shape in shapes.items():
        for part, side in ((".lora_A.", -1), (".lora_B.", 0)):
            name, found, _ = key.removeprefix(_PREFIX).partition(part)
            target = getattr(modules.get(name), "weight", None)
            if not found or (target is not None and _side(modules[name], side) == shape[side]):
                continue
            its = "no such layer" if target is None else f"one of {_side(modules[name], side)}"
            raise EncoderError(
                f"expected a base with a layer {name} of {shape[side]} {'inputs' if side else 'outputs'} for the "
                f"adapter {adapter.folder}, found {its}: name the model that it was trained on with --base"
            )
    return set(shapes)


def _check_used(stated: set[str], made: Iterable[str], adapter: Adapter) -> None:
    """peft makes layers by the configuration: weights of others are left out, and what lacks weights does nothing."""
    used = {key.replace(".default.", ".") for key in made if ".lora_A." in key}
    if differ := sorted(used ^ {key for key in stated if ".lora_A." in key}):
        raise EncoderError(
            f"expected weights in {adapter.folder / WEIGHTS} for the layers that {CONFIG} names, found that they differ"
            f" in {len(differ):,}, such as {differ[0].removeprefix(_PREFIX).partition('.lora_A.')[0]}: train it again"
        )


def _side(layer: Any, side: int) -> int:
    """Outputs (0) or inputs (-1) of a linear layer; GPT-2 keeps its weights the other way round."""
    shape = layer.weight.shape
    is_transposed = type(layer).__name__ == "Conv1D"
    return int(shape[-1 if is_transposed == (side == 0) else 0])
