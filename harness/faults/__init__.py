"""Wrong rules planted into PyTorch while it runs: a mutation score for the witness and for the checks torch offers."""

from .catalogue import catalogue
from .fault import Fault
from .planting import planted

__all__ = ["Fault", "catalogue", "planted"]
