"""Papers that are nearly the same: pairs and groups by their vectors, what kind of pair each is, and the words that
differ."""

from embedsearch.duplicates.finding import find_duplicates
from embedsearch.duplicates.groups import near_duplicates, uncrowded
from embedsearch.duplicates.kinds import Kind
from embedsearch.duplicates.results import DuplicatePair, Duplicates, Group

__all__ = ["DuplicatePair", "Duplicates", "Group", "Kind", "find_duplicates", "near_duplicates", "uncrowded"]
