"""The course: small runnable lessons, in order, each with its claim, its numbers from three engines and an exercise."""

from .lesson import Exercise, Exhibit, Lesson
from .ordering import course, lesson

__all__ = ["READING_ORDER", "Exercise", "Exhibit", "Lesson", "course", "lesson"]

READING_ORDER = (
    "chain_rule",
    "graph_of_a_product",
    "building_value",
    "neuron",
    "forward_and_reverse",
    "three_ways",
    "numerical_differentiation",
    "functions_derived",
    "softmax_jacobian",
    "xor_network",
    "network_10_5_1",
    "kinks_and_nan",
    "pitfalls",
)
