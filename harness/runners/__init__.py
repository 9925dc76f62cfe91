"""The ways in which PyTorch is made to run one derivative, by name: eager, transformed, compiled, checkpointed."""

from .comparing_runs import compare_with
from .expressible import RUNNERS
from .layouts import LAYOUTS, laid_out

__all__ = ["LAYOUTS", "RUNNERS", "compare_with", "laid_out"]
