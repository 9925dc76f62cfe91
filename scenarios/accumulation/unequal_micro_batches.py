"""The mean of means, when micro-batches are not equally large

Symptom: Results depend on how sequences are packed into micro-batches. Short sequences weigh more than they should;
    the loss curve of an accumulated run does not match the one of the large batch.
Cause: Each micro-batch divides by its own number of tokens, then all count alike. A token in a part of 1 weighs as
    much as three tokens in a part of 3 together. Dividing by the number of parts, right for equal parts, is wrong here.
Fix: Sum the token losses, and divide by the number of tokens in the whole window. It must be known before the first
    backward, so count first.
Shapes: w: (), tokens: (1,) and (3,) -> loss: ()
Source: huggingface/transformers#34191, huggingface/blog#2414, OpenNMT/OpenNMT-py#2209
Seen on: torch 2.13.0, CPU, float64
"""

from ..scenario import Numbers, Scenario, plain

TOKENS = [[1.0], [5.0, 6.0, 7.0]]  # two micro-batches: one token, three tokens
W = 2.0


def faulty() -> Numbers:
    """The loss of a token t is (w - t)^2; each micro-batch takes its mean, then the mean of the two."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    for tokens in TOKENS:
        losses = (w - torch.tensor(tokens, dtype=torch.float64)) ** 2
        (losses.mean() / len(TOKENS)).backward()
    return {"w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """One common denominator: the tokens of the window."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    count = sum(len(tokens) for tokens in TOKENS)
    for tokens in TOKENS:
        losses = (w - torch.tensor(tokens, dtype=torch.float64)) ** 2
        (losses.sum() / count).backward()
    return {"w.grad": plain(w.grad)}


def truth() -> Numbers:
    """The derivative of (w - t)^2 is 2 (w - t); its mean over all four tokens, whatever part they are in."""
    slopes = [2 * (W - t) for tokens in TOKENS for t in tokens]  # 2, -6, -8, -10
    return {"w.grad": [sum(slopes) / len(slopes)]}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
