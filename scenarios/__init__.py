"""The pitfalls of automatic differentiation: what PyTorch gives, what is right, and the repaired form.

Read one as `print(tell(catalogue()["forgotten-zeroing"]))`, or open its file: each is an essay whose code runs.
"""

from .collection import FAMILIES, catalogue, find
from .errors import EssayError, UnknownScenario
from .observing import Observation, observe, record
from .scenario import Scenario
from .telling import overview, tell

__all__ = [
    "FAMILIES",
    "EssayError",
    "Observation",
    "Scenario",
    "UnknownScenario",
    "catalogue",
    "find",
    "observe",
    "overview",
    "record",
    "tell",
]
