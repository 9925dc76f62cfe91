"""The families of real models that every check is held against: name -> a maker of (model, inputs), seeded."""

from collections.abc import Callable

import torch
from torch import nn
from torch_nn_families import TORCH_NN, Made
from transformers_families import TRANSFORMERS

SEED = 20240229


def _seeded(maker: Callable[[], Made]) -> Callable[[], tuple[nn.Module, tuple]]:
    def made() -> tuple[nn.Module, tuple]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model, inputs = maker()
            return model.train(), inputs

    return made


def families() -> dict[str, Callable[[], tuple[nn.Module, tuple]]]:
    """Every family by its name; each call of a maker gives the same float32 model in train mode, and its inputs."""
    return {name: _seeded(maker) for name, maker in (TORCH_NN | TRANSFORMERS).items()}
