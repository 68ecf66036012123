"""Indexes that propose rows; `scores` decides among them."""

from embedsearch.ann.exact import ExactScan
from embedsearch.ann.protocol import AUTO, AnnIndex, AnnKind, choose_kind, faiss_package, require_faiss

__all__ = ["AUTO", "AnnIndex", "AnnKind", "ExactScan", "choose_kind", "faiss_package", "require_faiss"]
