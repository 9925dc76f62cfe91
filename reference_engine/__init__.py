"""The witness: reverse-mode differentiation on NumPy alone, independent of PyTorch."""

from . import ops
from .dual import Dual
from .errors import (
    DerivativeError,
    DtypeError,
    EngineError,
    ParameterError,
    ProgramError,
    ShapeError,
    UnknownPrimitive,
)
from .evaluate import Plan, evaluate
from .forward import forward
from .program import Equation, Program, Variable
from .registry import PRIMITIVES, Primitive
from .reverse import reverse
from .scalar import Value
from .simplify import simplify
from .tracing import Tracer, trace
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__all__ = [
    "PRIMITIVES",
    "DerivativeError",
    "DtypeError",
    "Dual",
    "EngineError",
    "Equation",
    "ParameterError",
    "Plan",
    "Primitive",
    "Program",
    "ProgramError",
    "ShapeError",
    "Tracer",
    "UnknownPrimitive",
    "Value",
    "Variable",
    "evaluate",
    "forward",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "ops",
    "reverse",
    "simplify",
    "trace",
    "value_and_grad",
    "vjp",
]
