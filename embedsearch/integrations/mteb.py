"""An encoder in mteb, the benchmark of embedding models (https://github.com/embeddings-benchmark/mteb).

import mteb
from embedsearch.integrations.mteb import MtebEncoder

model = MtebEncoder(open_encoder("minilm"), name="minilm")
mteb.evaluate(model, mteb.get_tasks(tasks=["SciFact"]))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders import Encoder, Role
from embedsearch.errors import MissingExtra
from embedsearch.records import Paper
from embedsearch.texts import Template

try:
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType
except ImportError as error:
    raise MissingExtra(f"expected mteb, found {error}: pip install mteb") from error


class MtebEncoder(AbsEncoder):
    """An Encoder as mteb asks it: its own prompts before queries and documents, compared by cosine.

    `name` is what results are filed under; without an organisation it is embedsearch's. `template` makes a document's
    text of its title and body (`{title}`, `{abstract}`), as a store does; None: as mteb does, title, a space, body.
    """

    def __init__(self, encoder: Encoder, *, name: str, template: str | None = None) -> None:
        self.model = encoder
        self._template = Template.parse(template) if template is not None else None
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name if "/" in name else f"embedsearch/{name}",
                "revision": encoder.recipe.weights.rpartition(":")[2][:12],
                "embed_dim": encoder.dim,
                "max_tokens": encoder.recipe.max_tokens,
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": bool(encoder.recipe.query_prompt or encoder.recipe.document_prompt),
            }
        )

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: PromptType | None = None, **_: Any
    ) -> NDArray[np.float32]:
        """(n, dim) float32, unit rows. What is neither query nor document, as in a comparison of two, is a document."""
        role = Role.QUERY if prompt_type is PromptType.query else Role.DOCUMENT
        # All at once: the encoder makes its own batches, by length
        texts = [text for batch in inputs for text in self._texts(batch, role)]
        return np.asarray(self.model.encode(texts, role=role), np.float32)

    def _texts(self, batch: Mapping[str, Any], role: Role) -> list[str]:
        if self._template is None or role is Role.QUERY or "body" not in batch:
            return list(batch["text"])
        titles = batch.get("title", [""] * len(batch["body"]))
        return [
            self._template.render(Paper(id="", title=title, abstract=body))
            for title, body in zip(titles, batch["body"], strict=True)
        ]
