"""What ATen operations mean in the witness's own operations; importing this package fills the table."""

from . import activations, contractions, convolution, core, distances, embedding, indexing, losses, normalization, padding, pointwise, pooling, reductions, scans, scatter, selection, softmax, special, storage, views
from .table import CallSite, NotCovered, find, functional_name, is_constant, known_operations, lowers

__all__ = ["CallSite", "NotCovered", "activations", "contractions", "convolution", "core", "distances", "embedding", "find", "functional_name", "indexing", "is_constant", "known_operations", "losses", "lowers", "normalization", "padding", "pointwise", "pooling", "reductions", "scans", "scatter", "selection", "softmax", "special", "storage", "views"]
