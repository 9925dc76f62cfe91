"""The witness: reverse-mode differentiation on NumPy alone, independent of PyTorch."""

from . import ops
from .draw import text_tree
from .dual import Dual
from .error_curve import error_curve
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
from .evaluation_counts import evaluation_counts
from .expression_growth import expression_growth
from .forward import forward
from .graph import Graph, graph_of
from .jacobian_cost import jacobian_costs
from .markup import to_dot, to_mermaid
from .paths import Paths, paths
from .program import Equation, Program, Variable
from .program_listing import listing, side_by_side
from .registry import PRIMITIVES, Primitive
from .reverse import reverse
from .scalar import Value
from .simplify import simplify
from .svg import to_svg
from .symbolic import symbolic_derivative
from .three_ways import three_ways
from .tracing import Tracer, trace
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .value_listing import backward_listing

__all__ = [
    "PRIMITIVES",
    "DerivativeError",
    "DtypeError",
    "Dual",
    "EngineError",
    "Equation",
    "Graph",
    "ParameterError",
    "Paths",
    "Plan",
    "Primitive",
    "Program",
    "ProgramError",
    "ShapeError",
    "Tracer",
    "UnknownPrimitive",
    "Value",
    "Variable",
    "backward_listing",
    "error_curve",
    "evaluate",
    "evaluation_counts",
    "expression_growth",
    "forward",
    "grad",
    "graph_of",
    "hessian",
    "hvp",
    "jacobian",
    "jacobian_costs",
    "jvp",
    "listing",
    "ops",
    "paths",
    "reverse",
    "side_by_side",
    "simplify",
    "symbolic_derivative",
    "text_tree",
    "three_ways",
    "to_dot",
    "to_mermaid",
    "to_svg",
    "trace",
    "value_and_grad",
    "vjp",
]
