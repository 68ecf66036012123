"""What a route asks for: `Depends(reader)`, `Depends(admin)`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from embedsearch.errors import NotAllowed
from embedsearch.server.keys import TOKEN, Keys, Role
from embedsearch.server.options import ServeOptions

bearer = HTTPBearer(auto_error=False, description="A key: `embedsearch keys add NAME` makes one.")

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def reader(request: Request, credentials: Credentials) -> None:
    """Let who asks read. Raises NotAllowed (401) without a known key, where there are keys and reading is not public.

    Where none is needed a wrong one is no error: clients of other services send one always.
    """
    keys: Keys = request.app.state.keys
    options: ServeOptions = request.app.state.options
    if keys.required and not options.public_read:
        _role(keys, credentials)


async def admin(request: Request, credentials: Credentials) -> None:
    """Let who asks change what the server does. Raises NotAllowed without a known key (401) or its role (403).

    There is no server so private that it does not need one: any page in a browser could ask a server on loopback.
    """
    if _role(request.app.state.keys, credentials) is not Role.ADMIN:
        raise NotAllowed("expected a key with the role admin, found one with the role read", status=403)


def _role(keys: Keys, credentials: HTTPAuthorizationCredentials | None) -> Role:
    if credentials is None:
        raise NotAllowed("expected a key as 'Authorization: Bearer KEY', found none")
    role = keys.role_of(credentials.credentials) if TOKEN.fullmatch(credentials.credentials) else None
    if role is None:
        raise NotAllowed("expected a key that this server knows, found another")
    return role
