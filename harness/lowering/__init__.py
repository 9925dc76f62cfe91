"""What ATen operations mean in the witness's own operations; importing this package fills the table."""

from . import core, storage
from .table import CallSite, find, functional_name, is_constant, known_operations, lowers

__all__ = ["CallSite", "core", "find", "functional_name", "is_constant", "known_operations", "lowers", "storage"]
