"""The contrastive objective: titles find their abstracts, for search."""
