"""The ways in which PyTorch is made to run one derivative, by name: eager, transformed, compiled, checkpointed."""

from .comparing_runs import compare_with
from .expressible import RUNNERS

__all__ = ["RUNNERS", "compare_with"]
