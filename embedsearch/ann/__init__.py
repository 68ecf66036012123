"""Indexes that propose rows; `scores` decides among them."""

from embedsearch.ann.exact import ExactScan
from embedsearch.ann.protocol import AnnIndex, AnnKind, choose_kind, faiss_package, require_faiss

__all__ = ["AnnIndex", "AnnKind", "ExactScan", "choose_kind", "faiss_package", "require_faiss"]
