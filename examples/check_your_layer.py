"""A custom autograd.Function with a wrong backward: found, named, repaired.

SiLU is x σ(x). By the product rule its slope is σ(x) + x σ(x) (1 - σ(x)); the first version forgets the second term. It
trains, only worse: nothing raises.

Run: python examples/check_your_layer.py
"""

import torch
from gradwitness.harness import GradientMismatch, assert_gradients, check


class Forgetful(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.sigmoid(x)


class Repaired(Forgetful):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


torch.manual_seed(0)  # the layer below draws its weights
x = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)

print(check(lambda x: Forgetful.apply(x).sum(), x).explain())
print()
print(check(lambda x: Repaired.apply(x).sum(), x).explain())
print()


class Layer(torch.nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.linear, self.activation = torch.nn.Linear(3, 2, dtype=torch.float64), activation

    def forward(self, x):
        return self.activation.apply(self.linear(x))


# In a test file one line is enough; it also differentiates the parameters of the module.
assert_gradients(Layer(Repaired), x)
try:
    assert_gradients(Layer(Forgetful), x)
except GradientMismatch as error:
    print("assert_gradients:", str(error).splitlines()[0])
