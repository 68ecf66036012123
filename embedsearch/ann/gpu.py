"""A GPU of FAISS, for the matrix products of building: k-means, and which list each vector belongs to."""

from __future__ import annotations

from typing import Any

from embedsearch.ann.protocol import faiss_package
from embedsearch.errors import MissingExtra, OptionError

CPU = "cpu"


class Gpu:
    """The CUDA device of this name, cuda or cuda:N, as FAISS has it.

    Raises MissingExtra where FAISS was built for the CPU alone, OptionError where there is no such device.
    """

    def __init__(self, name: str) -> None:
        package = faiss_package()
        if package is not None:
            import faiss  # here: a store is built without FAISS as well
        if package is None or not hasattr(faiss, "StandardGpuResources"):
            raise MissingExtra(
                f"expected faiss-gpu to build an index on {name}, found {package or 'no FAISS'}: pip uninstall"
                " faiss-cpu, then pip install 'embedsearch[gpu]'"
            )
        self._number = int(name.partition(":")[2] or 0)
        if self._number >= (n_devices := faiss.get_num_gpus()):
            here = [CPU, *(f"cuda:{number}" for number in range(n_devices))]
            raise OptionError(f"no device {name!r} to build an index on: expected one of {', '.join(here)}")
        self._faiss, self._resources = faiss, faiss.StandardGpuResources()

    def holding(self, index: Any) -> Any:
        """`index`, a flat one, there; it must not outlive this."""
        return self._faiss.index_cpu_to_gpu(self._resources, self._number, index)


def gpu_named(name: str) -> Gpu | None:
    """The GPU of this name, None for cpu. Raises as Gpu does."""
    return None if name == CPU else Gpu(name)
