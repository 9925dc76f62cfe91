"""Lowerings of fused recurrent kernels: one layer of an LSTM over all steps, as oneDNN computes it."""

from __future__ import annotations

from typing import Any

from ...reference_engine import ops
from .table import CallSite, NotCovered, lowers

LSTM = 2  # the kernel's own number for this kind of cell


def lstm_step(gates: Any, c: Any) -> tuple[Any, Any]:
    """h' = o tanh c' and c' = f c + i u from the sums before the gates, in the order i, f, u, o along the last axis.

    gates: (n, 4 h), c: (n, h) -> two of (n, h). i, f, o are sigmoids, u is a tanh. Source: Hochreiter and Schmidhuber
    1997 with the forget gate of Gers, Schmidhuber and Cummins 2000.
    """
    i, f, u, o = ops.split(gates, c.shape[-1], axis=-1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(u)
    return ops.sigmoid(o) * ops.tanh(c), c


@lowers("aten::mkldnn_rnn_layer")
def recurrent_layer(
    call: CallSite,
    x: Any,
    input_weight: Any,
    hidden_weight: Any,
    input_bias: Any,
    hidden_bias: Any,
    h: Any,
    c: Any,
    reverse: bool,
    batch_sizes: Any,
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> Any:
    """One direction of one LSTM layer over all steps: the hidden states, the last one, and the last cell state.

    x: (steps, n, k); weights: (4 h, k) and (4 h, h); h, c: (n, h) -> (steps, n, h), (n, h), (n, h). `reverse`: the
    steps are read from the last to the first, and each result stands at its own step. num_layers
    and bidirectional tell of the network around the layer. The fourth output is the kernel's own note for its backward.
    """
    if mode != LSTM or len(batch_sizes):
        raise NotCovered(
            f"mode={mode}, batch_sizes={list(batch_sizes)}; covered is an LSTM (mode {LSTM}) over sequences of one "
            "length. Use torch.backends.mkldnn.flags(enabled=False)"
        )
    given, last_h, last_c = call.outputs[0].shape, call.outputs[1].shape, call.outputs[2].shape
    h, c = ops.reshape(h, (-1, hidden_size)), ops.reshape(c, (-1, hidden_size))
    enter, stay = ops.transpose(input_weight), ops.transpose(hidden_weight)
    hidden: list[Any] = [None] * given[0]
    for k in reversed(range(given[0])) if reverse else range(given[0]):
        gates = ops.matmul(x[k], enter) + ops.matmul(h, stay)
        h, c = lstm_step(gates + input_bias + hidden_bias if has_biases else gates, c)
        hidden[k] = h
    return ops.stack(hidden, axis=0), ops.reshape(h, last_h), ops.reshape(c, last_c), None
