"""Every error that embedsearch raises on purpose.

    EmbedsearchError
    ├── OptionError (ValueError)            an argument outside of what is possible
    ├── MissingExtra (ImportError)          an optional package is not installed
    ├── CorpusError (ValueError)            a file of papers that cannot be read as such
    ├── SpaceError (ValueError)             vectors that are no space, or spaces that cannot be compared
    │   └── NothingInCommon (LookupError)   they share no paper
    ├── EncoderError (RuntimeError)         a model that cannot be used
    │   ├── ModelNotFound (FileNotFoundError)
    │   └── BadVector (ValueError)          a vector with NaN, infinity, or of length zero
    ├── TrainingStopped (ArithmeticError)   a training whose loss is no number any more
    ├── StoreError (OSError)                a store that cannot be read or written
    │   ├── StoreNotFound (FileNotFoundError)
    │   ├── StoreCorrupt (ValueError)       a file is missing, cut, or not what the manifest says
    │   ├── StoreTooNew (ValueError)        made by a later version
    │   ├── StoreLocked (BlockingIOError)   another process is writing
    │   └── RecipeMismatch (ValueError)     vectors made in another way
    ├── QueryError (ValueError)             a query that cannot be answered
    │   ├── OverLimit                       more than a server takes at once
    │   └── PaperNotFound (LookupError)
    └── ServerError (ConnectionError)       a server that cannot be asked, or cannot answer
        ├── NotAllowed (PermissionError)    no key, or one that may not do this
        ├── Overloaded                      too many wait already, or it is not ready: try again later
        └── TookTooLong (TimeoutError)

The message of each says what was expected, what was found, and what to do. Each is also the builtin
exception named in brackets, so that code which knows nothing of embedsearch can catch it.
"""


class EmbedsearchError(Exception):
    """Root of the tree: catch this to catch all of them."""

    def __str__(self) -> str:
        # OSError would print "[Errno ...]" or a tuple; the message is the whole text of all of ours.
        return str(self.args[0]) if self.args else type(self).__name__


class OptionError(EmbedsearchError, ValueError):
    """An argument has a value outside of what is possible."""


class MissingExtra(EmbedsearchError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


class CorpusError(EmbedsearchError, ValueError):
    """A corpus cannot be read; the message names file and line."""


class SpaceError(EmbedsearchError, ValueError):
    """Vectors cannot be read as a space, or spaces cannot be compared; the message names file and row, or the ids."""


class NothingInCommon(SpaceError, LookupError):
    """Spaces, or papers and vectors, share no id."""


class EncoderError(EmbedsearchError, RuntimeError):
    """A model cannot be loaded or used."""


class ModelNotFound(EncoderError, FileNotFoundError):
    """No model of this name is here, nor could it be fetched."""


class BadVector(EncoderError, ValueError):
    """A vector is not finite, or has length zero.

    `position` is that of its text or row in what was asked for; who knows the paper names it in the message.
    """

    def __init__(self, message: str, *, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class TrainingStopped(EmbedsearchError, ArithmeticError):
    """A training came to a loss or a gradient that is not finite; the message says what is kept."""


class StoreError(EmbedsearchError, OSError):
    """A store cannot be read or written."""


class StoreNotFound(StoreError, FileNotFoundError):
    """There is no store at this path."""


class StoreCorrupt(StoreError, ValueError):
    """A file of the store is missing or is not what its manifest says."""


class StoreTooNew(StoreError, ValueError):
    """The store needs a later version of embedsearch."""


class StoreLocked(StoreError, BlockingIOError):
    """Another process is writing to the store; the message says which."""


class RecipeMismatch(StoreError, ValueError):
    """Vectors of one recipe met a store of another; the message names each difference."""


class QueryError(EmbedsearchError, ValueError):
    """A query cannot be answered."""


class PaperNotFound(QueryError, LookupError):
    """The store holds no paper of this id."""


class OverLimit(QueryError):
    """A request is larger than a server takes; the message names the limit."""


class ServerError(EmbedsearchError, ConnectionError):
    """A server cannot be reached, cannot be started, or cannot answer."""


class NotAllowed(ServerError, PermissionError):
    """A request came without a key (`status` 401), or with one that may not do this (403)."""

    def __init__(self, message: str, *, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class Overloaded(ServerError):
    """A server cannot answer now; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TookTooLong(ServerError, TimeoutError):
    """An answer was not ready within the time limit."""
