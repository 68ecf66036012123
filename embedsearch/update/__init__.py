"""A store that lives: papers come, change and go, and what is searched is never half of it.

Each change is one new generation beside the one that is served: a catalogue (a file of what changed, beside the first),
keyword segments (links to the old ones, and new ones beside them), shards for the new rows, an index (the old one with
more vectors). Readers go on with theirs; the generation before stays whole, for `rollback`.
"""

from embedsearch.update.adding import add
from embedsearch.update.compacting import compact
from embedsearch.update.removing import remove
from embedsearch.update.report import UpdateReport
from embedsearch.update.rolling_back import rollback

__all__ = ["UpdateReport", "add", "compact", "remove", "rollback"]
