"""The retrieval backend: one store over HTTP, and a page to search it."""
