"""How the witness reads a function of tensors: value and gradient by the lowerings, without PyTorch's autograd."""

import numpy as np
import pytest
import torch
from gradwitness.harness.recorder.recording import capture
from gradwitness.harness.recorder.witnessing import program_of
from gradwitness.reference_engine import evaluate, reverse


@pytest.fixture
def read():
    """read(fn, *numbers) -> (value, gradients with cotangent 1) as NumPy arrays; the numbers become float64 tensors."""

    def read_function(fn, *numbers):
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers]
        program = program_of(capture(fn, *tensors))
        arrays = [np.asarray(x, dtype=np.float64) for x in numbers]
        value = np.asarray(evaluate(program, *arrays))
        gradients = evaluate(reverse(program), *arrays, np.ones(value.shape))
        return value, [np.asarray(g) for g in (gradients if isinstance(gradients, tuple) else (gradients,))]

    return read_function
