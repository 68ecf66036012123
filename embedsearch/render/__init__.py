"""Results as text: tables for a terminal, JSON, CSV, LaTeX, BibTeX, Markdown and HTML."""
