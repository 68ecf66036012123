"""Adapting a model to a literature: around transformers' trainer, with two objectives.

The modules here import torch, transformers and what the extra `train` brings: each is imported when it is used.
"""
