"""One neuron learns a straight line, in Value and in PyTorch in lock step.

The points lie on y = 2 x + 1. With x = -1 and x = 1 the loss is (w - 2)² + (b - 1)², so each step at rate 0.1 keeps
0.8 of the error: after k steps w is 2 (1 - 0.8ᵏ), b is 1 - 0.8ᵏ, and the loss is 5 · 0.64ᵏ.

Run: python examples/train_a_neuron.py
"""

import torch
from gradwitness.reference_engine import Value

POINTS = [(-1.0, -1.0), (1.0, 3.0)]
RATE, STEPS = 0.1, 20

w, b = Value(0.0), Value(0.0)
neuron = torch.nn.Linear(1, 1, dtype=torch.float64)
torch.nn.init.zeros_(neuron.weight)
torch.nn.init.zeros_(neuron.bias)
optimizer = torch.optim.SGD(neuron.parameters(), lr=RATE)
inputs, targets = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*POINTS, strict=True))

print("step   w (Value)    w (PyTorch)  b (Value)    b (PyTorch)  loss (Value)  loss (PyTorch)")
for step in range(STEPS + 1):
    loss = sum((w * x + b - y) ** 2 for x, y in POINTS) / len(POINTS)
    torch_loss = torch.nn.functional.mse_loss(neuron(inputs), targets)
    if step % 5 == 0:
        print(
            f"{step:4}   {w.data:<12.9f} {neuron.weight.item():<12.9f} {b.data:<12.9f} {neuron.bias.item():<12.9f} "
            f"{loss.data:<13.9f} {torch_loss.item():<.9f}"
        )

    loss.backward()  # starts afresh: no clearing needed
    optimizer.zero_grad()  # PyTorch adds to what is there
    torch_loss.backward()

    w, b = Value(w.data - RATE * w.grad), Value(b.data - RATE * b.grad)
    optimizer.step()
