"""One root; each error also the matching builtin."""

import pytest

from embedsearch import errors


@pytest.mark.parametrize("name", [name for name in dir(errors) if isinstance(getattr(errors, name), type)])
def test_one_root_and_the_message_is_the_text(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.EmbedsearchError)
    assert str(kind("expected this, found that")) == "expected this, found that"
    assert name in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.OptionError, ValueError),
        (errors.MissingExtra, ImportError),
        (errors.ModelNotFound, FileNotFoundError),
        (errors.StoreNotFound, FileNotFoundError),
        (errors.StoreLocked, BlockingIOError),
        (errors.PaperNotFound, LookupError),
    ],
)
def test_is_the_builtin_too(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)
