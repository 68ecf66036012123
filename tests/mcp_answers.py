"""What the protocol's own client was answered."""

from __future__ import annotations

import json
from typing import Any

from mcp.types import CallToolResult, TextContent


def content(result: CallToolResult) -> dict[str, Any]:
    """What a tool gave; the same stands in its text, for agents that read only that."""
    (text,) = result.content
    assert isinstance(text, TextContent)
    assert not result.is_error, text.text
    assert json.loads(text.text) == result.structured_content
    found: dict[str, Any] = result.structured_content  # type: ignore[assignment]
    return found


def refusal(result: CallToolResult) -> str:
    assert result.is_error
    (text,) = result.content
    assert isinstance(text, TextContent)
    return text.text
