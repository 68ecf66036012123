"""The stages of a build: what may be asked of it, choosing a generation, reading papers, embedding them."""
