"""Encoders: texts in, vectors out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from embedsearch.encoders.protocol import (
    GIVEN,
    Compute,
    Encoded,
    Encoder,
    ModelSpec,
    Pooling,
    Prepared,
    Recipe,
    Role,
)
from embedsearch.encoders.services import is_service
from embedsearch.errors import ModelNotFound, OptionError, RecipeMismatch

if TYPE_CHECKING:
    from embedsearch.encoders.openai import ServiceEncoder
    from embedsearch.encoders.transformer import TransformerEncoder

__all__ = [
    "GIVEN",
    "Compute",
    "Encoded",
    "Encoder",
    "ModelSpec",
    "Pooling",
    "Prepared",
    "Recipe",
    "Role",
    "open_encoder",
]


def open_encoder(
    spec: ModelSpec | str = "minilm", *, compute: Compute | None = None, expected: Recipe | None = None
) -> TransformerEncoder | ServiceEncoder:
    """The encoder that `spec` (or a name alone) describes. Its weights are loaded when the first text is encoded.

    ada-002, openai:NAME and any name with a base URL are a service's, which is first asked when the first text is
    encoded. `expected` is the recipe of vectors that the encoder must be able to continue: it helps to find a model
    that has moved, and another recipe is refused. Raises ModelNotFound, EncoderError, MissingExtra, OptionError, and
    RecipeMismatch, which names each difference.
    """
    spec = ModelSpec(name=spec) if isinstance(spec, str) else spec
    if spec.name == GIVEN:
        raise ModelNotFound("expected the encoder object that made the vectors, found none: give it as encoder=")
    if spec.pooling is Pooling.SERVICE:
        raise OptionError(f"expected a pooling that can be asked for, found {spec.pooling.value!r}")
    encoder = (_of_service if is_service(spec) else _of_files)(spec, compute or Compute(), expected)
    if expected is not None and (differences := expected.differences(encoder.recipe)):
        raise RecipeMismatch(f"expected the model that made the vectors, found another: {'; '.join(differences)}")
    return encoder


def _of_service(spec: ModelSpec, compute: Compute, expected: Recipe | None) -> ServiceEncoder:
    from embedsearch.encoders.openai import ServiceEncoder

    return ServiceEncoder(spec, compute=compute, from_store=expected is not None)


def _of_files(spec: ModelSpec, compute: Compute, expected: Recipe | None) -> TransformerEncoder:
    # Imported here and not above: who reads recipes or searches by words does not wait for torch.
    from embedsearch.encoders.folder import read_model

    with ThreadPoolExecutor(1) as beside:
        # Hashing weights takes as long as a quarter of torch's import, and runs beside it.
        reading = beside.submit(read_model, spec, expected)
        from embedsearch.encoders.transformer import TransformerEncoder

        model = reading.result()
    return TransformerEncoder(model, compute=compute)
