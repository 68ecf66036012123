"""What a change of a store did."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from embedsearch.store.generation import Generation
from embedsearch.store.manifest import MANIFEST_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """What became of the papers, by id in normal form; `generation` is served now, with `n_papers`.

    `new` were not there; of `changed` another text is embedded; of `renewed` other fields are others; `removed` are not
    there any more. `n_unchanged` records say nothing new, `n_unknown` were to be taken out and are not there,
    `n_empty` have no abstract, `n_left_out` were not selected. `n_dead_rows` were given back, `n_bytes` written.
    """

    generation: int
    n_papers: int
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    n_unchanged: int = 0
    n_unknown: int = 0
    n_empty: int = 0
    n_left_out: int = 0
    n_dead_rows: int = 0
    n_bytes: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to do, so that the store is as it was."""
        return not self.n_bytes

    def after(self, other: UpdateReport) -> UpdateReport:
        """Both in one, `other` first."""
        summed = [field.name for field in fields(self) if field.name not in ("generation", "n_papers")]
        return replace(self, **{name: getattr(other, name) + getattr(self, name) for name in summed})

    def served(self, folder: Path, generation: Generation, before: Generation) -> UpdateReport:
        """The same of a generation that is served now, in the place of the one before."""
        n_bytes = _bytes_written(generation, before) + (folder / MANIFEST_NAME).stat().st_size
        return replace(self, generation=generation.number, n_papers=generation.n_papers, n_bytes=n_bytes)


def _bytes_written(generation: Generation, before: Generation) -> int:
    """Of the files that the generation before has not: a link takes none."""
    known = {(Path(entry.name).name, entry.sha256) for entry in before.files()}
    return sum(entry.size for entry in generation.files() if (Path(entry.name).name, entry.sha256) not in known)
