"""What pages of HTML that are files have in common: they open from a disk, and fetch nothing."""

from __future__ import annotations

from html import escape

PLAIN = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5b6470; --line: #d9dee4; --page: #fff; --card: #f7f8fa;
  --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #9aa4b1; --line: #343b44; --page: #14171b;
  --card: #1c2026; --link: #7db8f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
"""
"""Colours for light and dark, and the text."""


def page(title: str, style: str, body: str) -> str:
    """A page with this title, which is escaped here, and the HTML `body` under it. Styles come after PLAIN."""
    return _PAGE.format(title=escape(title), style=PLAIN + style, body=body)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
