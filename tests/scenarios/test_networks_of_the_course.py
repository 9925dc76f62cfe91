"""The networks of the course, by arithmetic written out here: gradients from formulas, and how rounding grows."""

import numpy as np
import pytest
import torch
from gradwitness.reference_engine import grad
from gradwitness.scenarios.lessons import kinks_and_nan, network_10_5_1, softmax_jacobian, xor_network
from gradwitness.scenarios.lessons.xor_network import GROWTH, INPUTS, RATE, SHOWN, START, STEPS, TARGETS

X, T = np.array(INPUTS), np.array(TARGETS)
CHANGE = 1e-6
"""The change of a weight whose effect is measured: differences are then right to about 1e-9, relative."""


def outputs_and_terms(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The four outputs, and each case's part of the loss gradient: (4,), (4, 9). By the chain rule on paper."""
    hidden, weights = w[:6].reshape(2, 3), w[6:8]
    h = np.tanh(X @ hidden[:, :2].T + hidden[:, 2])
    y = 1 / (1 + np.exp(-(h @ weights + w[8])))
    dz = (y - T) / 2 * y * (1 - y)  # d/dy of (y - t)²/4, times the slope of the sigmoid
    da = dz[:, None] * weights * (1 - h**2)
    parts = [np.column_stack([da[:, [k]] * X, da[:, k]]) for k in (0, 1)]
    return y, np.column_stack([*parts, dz[:, None] * h, dz])


def steps_from(w: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """What the lesson states, if training stands at `step` with weights w: losses to come, last outputs and weights."""
    found = {}
    for k in range(step, STEPS + 1):
        y, terms = outputs_and_terms(w)
        if k in SHOWN:
            found[f"loss after {k} steps"] = np.array([np.mean((y - T) ** 2)])
        if k < STEPS:
            w = w - RATE * terms.sum(axis=0)
    found["outputs at the end"] = y
    names = ("first hidden neuron at the end", "second hidden neuron at the end", "output neuron at the end")
    return found | dict(zip(names, w.reshape(3, 3), strict=True))


def weights_along_the_way() -> list[np.ndarray]:
    w = [np.array(START)]
    for _ in range(STEPS):
        w.append(w[-1] - RATE * outputs_and_terms(w[-1])[1].sum(axis=0))
    return w


def test_xor_is_learned_as_stated_by_the_chain_rule_on_paper() -> None:
    found, stated = steps_from(np.array(START), 0), xor_network.LESSON.stated
    for name, numbers in found.items():
        assert [f"{number:.6g}" for number in numbers] == [f"{number:.6g}" for number in stated[name]], name
    outputs = [outputs_and_terms(w)[0] for w in weights_along_the_way()]
    right = [bool(np.all((y > 0.5) == (T > 0.5))) for y in outputs]
    near = [bool(np.all(abs(y - T) < 0.1)) for y in outputs]
    assert stated["steps until all are on the right side"] == [right.index(True)]
    assert stated["steps until all are within 0.1"] == [near.index(True)] == [STEPS]


def test_no_step_of_xor_is_so_near_its_mark_that_rounding_could_move_it() -> None:
    """Outputs must be away from 0.5 and 0.1 by far more than the rounding of the lesson."""
    y = np.array([outputs_and_terms(w)[0] for w in weights_along_the_way()])
    wrong = np.where(T > 0.5, 1 - y, y)  # 0 is right, 1 is wrong
    for mark in (0.5, 0.1):
        worst = wrong.max(axis=1)
        # At step 0 the output for (0, 0) is exactly one half: tanh(0) = 0 and σ(0) = 1/2 hold in every engine.
        assert np.abs(worst[1:] - mark).min() > 1e5 * xor_network.LESSON.rounding


def test_a_change_of_the_weights_grows_in_xor_by_no_more_than_the_lesson_says() -> None:
    greatest = 0.0
    for step, w in enumerate(weights_along_the_way()):
        if step % 9:
            continue
        base = steps_from(w, step)
        moved = [(steps_from(w + e, step), steps_from(w - e, step)) for e in CHANGE * np.eye(9)]
        for name, numbers in base.items():
            effects = [np.abs(up[name] - down[name]).max() / (2 * CHANGE) for up, down in moved]
            greatest = max(greatest, sum(effects) / np.abs(numbers).max())
    assert 0.9 * GROWTH < greatest < GROWTH


def test_weights_and_gradient_terms_of_xor_stay_as_small_as_its_rounding_takes_for_granted() -> None:
    assert max(np.abs(w).max() for w in weights_along_the_way()) < 4.0
    assert max(np.abs(outputs_and_terms(w)[1]).max() for w in weights_along_the_way()) < 0.072


def test_the_answer_of_xor_is_the_sum_that_it_writes_out() -> None:
    terms = outputs_and_terms(np.array(START))[1][:, 8]
    text = xor_network.LESSON.exercise.explanation
    assert [f"{abs(term):.8f}" in text or f"{abs(term):.4f}" in text for term in terms] == [True] * 4


def test_all_61_gradients_of_the_network_are_the_formula() -> None:
    """With g = 2 (y - t): b2 has g, W2 g h, b1 g w2 where the neuron is on, W1 the outer product of b1's with x."""
    start = network_10_5_1.drawn()
    w1, b1, w2, x = (np.array(one) for one in (start.w1, start.b1, start.w2, start.x))
    z = w1 @ x + b1
    h = np.maximum(z, 0)
    g = 2 * (w2 @ h + start.b2 - start.t)
    first = g * w2 * (z > 0)
    right = [np.outer(first, x), first, g * h, np.array(g)]
    # The sums of y cancel by CANCELLATION, and 64 roundings are counted for each.
    rounding = network_10_5_1.LESSON.rounding
    arrays = grad(network_10_5_1._loss, argnums=(0, 1, 2, 3))(w1, b1, w2, np.array(start.b2))
    tensors = [torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (w1, b1, w2, start.b2)]
    output = tensors[2] @ torch.relu(tensors[0] @ torch.tensor(x) + tensors[1]) + tensors[3]
    theirs = torch.autograd.grad((output - start.t) ** 2, tensors)
    for mine, engine, torch_one in zip(right, arrays, theirs, strict=True):
        np.testing.assert_allclose(engine, mine, rtol=rounding)
        np.testing.assert_allclose(torch_one.numpy(), mine, rtol=rounding)
    assert sum(one.size for one in right) == 61
    assert [int(row) for row in np.flatnonzero(z < 0)] == [1, 3]  # the two neurons that are off


def test_the_cancellation_of_the_network_is_as_stated() -> None:
    start = network_10_5_1.drawn()
    w1, b1, w2, x = (np.array(one) for one in (start.w1, start.b1, start.w2, start.x))
    z = w1 @ x + b1
    positive = np.abs(w2) @ ((np.abs(w1) @ np.abs(x) + np.abs(b1)) * (z > 0)) + abs(start.b2)
    y = w2 @ np.maximum(z, 0) + start.b2
    assert round(positive / abs(y)) == network_10_5_1.CANCELLATION


def test_drawing_the_weights_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    network_10_5_1.drawn.__wrapped__()
    network_10_5_1.in_torch()
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_and_columns_of_the_softmax_jacobian_add_up_to_nothing() -> None:
    found = softmax_jacobian.on_value()
    rows = np.array([found[f"ds_{i}/dx"] for i in (1, 2, 3)])
    shares = np.array([1, 2, 5]) / 8
    # Three terms below 1/4, each right to 64 roundings.
    rounding = 3 * 0.25 * 64 * 2.0**-53
    assert np.abs(rows.sum(axis=0)).max() <= rounding
    assert np.abs(rows.sum(axis=1)).max() <= rounding
    np.testing.assert_allclose(rows, np.diag(shares) - np.outer(shares, shares), atol=rounding)


KINKS = {
    "clamp(x, 0, 1) at 0": ([0.5], [0.0], [1.0]),
    "greatest of a list, [1, 1]": ([0.5, 0.5], [0.5, 0.5], [1.0, 0.0]),
    "sqrt(x) at 0": ([np.inf], [np.inf], [np.inf]),
    "sqrt(x · x) at 0": ([np.nan], [np.nan], [np.nan]),
    "where(x > 0, sqrt(x), 0) at 0": ([0.0], [0.0], [np.nan]),
    "where(x > 0, sqrt(x), 0) at -1": ([0.0], [0.0], [np.nan]),
    "the same, repaired in PyTorch": ([0.0], [0.0], [0.0]),
}
"""What the story of the kinks tells of Value, the array engine and torch 2.13."""


def test_the_engines_choose_at_kinks_what_the_story_tells() -> None:
    found = {text: engines for text, *engines, _ in kinks_and_nan.who_gives_what()}
    assert list(found) == list(KINKS)
    for text, engines in found.items():
        for given, told in zip(engines, KINKS[text], strict=True):
            np.testing.assert_array_equal(given, told, err_msg=text)


def test_leaky_relu_of_pytorch_takes_the_least_slope_at_zero() -> None:
    leaky = kinks_and_nan.torch_slopes(lambda x: torch.nn.functional.leaky_relu(x, 0.1), 0.0)
    assert leaky == [pytest.approx(0.1, rel=2.0**-52)]  # 0.1 is rounded once
