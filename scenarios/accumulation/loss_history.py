"""A running loss that keeps every graph alive

Symptom: Memory grows with every batch until the process is killed, while the printed mean loss is right. Calling
    `backward()` on the total would moreover train on the whole epoch at once.
Cause: `total = total + loss` is a differentiable addition like any other. The total holds its graph, which holds the
    graph of every loss, which holds the activations of every batch.
Fix: A log wants a number: `total += loss.item()`, or `loss.detach()` to stay on the device without waiting for it.
Shapes: w: (3,), loss of a batch: () -> total: ()
Source: pytorch/pytorch#17568, horovod/horovod#641; PyTorch FAQ, "Don't accumulate history across your training loop"
Seen on: torch 2.13.0, CPU, float64
"""

from ..scenario import Numbers, Scenario, plain

BATCHES = 50


def graph_nodes(tensor) -> int:
    """How many recorded operations a tensor keeps alive."""
    found, ahead = set(), [tensor.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in found:
            found.add(node)
            ahead += [following for following, _ in node.next_functions]
    return len(found)


def faulty() -> Numbers:
    """The loss of batch k is sum(k w) with w = (1, 1, 1); its mean over 50 batches is for the log only."""
    import torch

    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(BATCHES):
        loss = (k * w).sum()
        total = total + loss
    mean, kept = total / BATCHES, graph_nodes(total)
    return {"mean loss": plain(mean), "operations kept alive": plain(kept)}


def fixed() -> Numbers:
    """The same sum, of numbers."""
    import torch

    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(BATCHES):
        loss = (k * w).sum()
        total = total + loss.detach()
    mean, kept = total / BATCHES, graph_nodes(total)
    return {"mean loss": plain(mean), "operations kept alive": plain(kept)}


def truth() -> Numbers:
    """The mean of 3 k for k = 0 … 49 is 3 * 49 / 2; a number in a log has no reason to keep anything alive."""
    return {"mean loss": [3 * (BATCHES - 1) / 2], "operations kept alive": [0.0]}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("mean loss",))
