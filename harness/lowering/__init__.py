"""What ATen operations mean in the witness's own operations; importing this package fills the table."""

from . import contractions, core, distances, normalization, reductions, scans, softmax, storage
from .table import CallSite, NotCovered, find, functional_name, is_constant, known_operations, lowers

__all__ = ["CallSite", "NotCovered", "contractions", "core", "distances", "find", "functional_name", "is_constant", "known_operations", "lowers", "normalization", "reductions", "scans", "softmax", "storage"]
