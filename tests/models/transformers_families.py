"""Small models of the transformers library, made from configurations alone, with random weights and no download."""

from collections.abc import Callable

from torch_nn_families import Made

TRANSFORMERS: dict[str, Callable[[], Made]] = {}
