"""Language models by name: how well they predict abstracts, and how they finish them.

Imports neither torch nor transformers by itself.
"""
