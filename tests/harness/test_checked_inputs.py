"""What `check` takes: nested arguments, tied parameters, tensors of every kind, callables that hold modules."""

import dataclasses
import functools

import pytest
import torch
from gradwitness.harness import UsageError, check


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def whole(result):
    return result.frame[result.frame["program"] == "whole"].set_index("wrt")


@dataclasses.dataclass
class Batch:
    x: torch.Tensor
    count: int
    more: list


@dataclasses.dataclass(frozen=True)
class Output:
    loss: torch.Tensor
    aux: dict
    nothing: object = None


def test_dataclasses_in_arguments_and_results_are_opened():
    def fn(batch, *, scale):
        y = batch.x * scale * batch.count
        return Output(y.sum(), {"square": batch.more[0] ** 2, "index": torch.tensor([1]), "none": None})

    result = check(fn, (Batch(normal(3), 2, [normal(2, seed=1)]),), {"scale": torch.tensor(5.0, dtype=torch.float64)})
    assert result.verdict == "agree", result.explain()
    assert set(whole(result).index) == {"batch[0]", "batch[2]", "scale"}


def test_results_of_transformers_are_opened():
    outputs = pytest.importorskip("transformers.modeling_outputs")

    def fn(x):
        return outputs.BaseModelOutput(last_hidden_state=x * 2, hidden_states=(x, x.exp()))

    assert check(fn, normal(3)).verdict == "agree"


class Tied(torch.nn.Module):
    """y = Wᵀ-free autoencoder of one number: y = w (w x), so dy/dw = 2 w x."""

    def __init__(self):
        super().__init__()
        self.enter, self.leave = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
        self.leave.weight = self.enter.weight

    def forward(self, x):
        return self.leave(self.enter(x)).sum()


def test_a_tied_pair_of_parameters_is_one_row_with_both_names_and_the_whole_derivative():
    model = Tied().double()
    torch.nn.init.constant_(model.enter.weight, 3.0)
    rows = whole(check(model, torch.tensor([[2.0]], dtype=torch.float64)))
    assert list(rows.index) == ["x", "enter.weight = leave.weight"]
    assert rows.loc["enter.weight = leave.weight", "torch_value"] == 2 * 3.0 * 2.0
    by_second_name = check(model, torch.tensor([[2.0]], dtype=torch.float64), wrt=["leave.weight"])
    assert list(whole(by_second_name).index) == ["enter.weight = leave.weight"]


def test_the_same_tensor_twice_stays_one_object_and_has_one_row():
    x = torch.tensor([3.0], dtype=torch.float64)
    rows = whole(check(lambda a, b: (a * b).sum() if a is b else a.sum(), (x, x)))
    assert list(rows.index) == ["a = b"] and rows.loc["a = b", "torch_value"] == 6.0


def test_views_of_one_tensor_are_two_arguments():
    x = torch.tensor([3.0, 4.0], dtype=torch.float64)
    rows = whole(check(lambda a, b: (a * b).sum(), (x, x[1:])))
    assert list(rows.index) == ["a", "b"]
    assert rows.loc["a", "torch_value"] == 4.0 and rows.loc["b", "torch_value"] == 3.0 + 4.0


def test_inputs_that_require_grad_or_have_a_history_are_taken_and_left_alone():
    leaf = normal(3).requires_grad_()
    leaf.grad = torch.ones(3, dtype=torch.float64)
    result = check(lambda a, b: a * b, (leaf, leaf.exp()))
    assert result.verdict == "agree" and torch.equal(leaf.grad, torch.ones(3, dtype=torch.float64))


def test_inference_tensors_are_taken():
    with torch.inference_mode():
        x, index = normal(3), torch.tensor([0, 2])
    assert check(lambda a, i: a[i].sin(), (x, index)).verdict == "agree"
    assert check(lambda a: a.sin().sum(), x.expand(2, 3)).verdict == "agree"


def test_empty_tensors_and_integers_among_the_results_are_taken():
    assert check(torch.nn.Linear(3, 2).double(), torch.empty(0, 3, dtype=torch.float64)).verdict == "agree"
    assert check(lambda a: (a.sin(), a.argmax(), a > 0), normal(3)).verdict == "agree"


def test_only_integers_as_a_result_are_a_row_that_is_not_ok_and_says_their_dtype():
    result = check(lambda a: a.argmax(), normal(3), modes=("R", "F"))
    assert (result.verdict, result.ok, len(result.frame)) == ("indeterminate", False, 2)
    assert "returned Tensor of int64 without a floating tensor" in result.explain()


def test_meta_tensors_are_refused_by_name():
    with pytest.raises(UsageError, match=r"x is on the meta device, of shape \(3,\)"):
        check(lambda x: x.sin(), torch.empty(3, device="meta"))
    with pytest.raises(UsageError, match="weight is on the meta device"):
        check(torch.nn.Linear(2, 2, device="meta"), torch.randn(1, 2))


def test_a_sparse_tensor_is_unsupported_by_the_name_of_what_has_no_rule():
    result = check(lambda a: a.to_dense() * 2, normal(3, 3).to_sparse())
    assert result.verdict == "unsupported" and "to_dense" in result.explain()


def test_a_lazy_module_is_checked_and_stays_lazy():
    model = torch.nn.Sequential(torch.nn.LazyLinear(3), torch.nn.Tanh())
    result = check(model, normal(2, 5, dtype=torch.float32))
    assert result.verdict == "agree" and "0.weight" in whole(result).index
    assert isinstance(model[0], torch.nn.LazyLinear) and torch.nn.parameter.is_lazy(model[0].weight)
    assert model(torch.randn(2, 7)).shape == (2, 3)


def test_a_scripted_module_is_checked_also_after_it_was_optimised():
    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()))
    for _ in range(4):
        model(torch.randn(5, 3)).sum().backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    result = check(model, normal(2, 3), dtypes=("float64", "float32"))
    assert result.verdict == "agree" and set(result.frame["dtype"]) == {"float64", "float32"}
    assert all(torch.equal(p, before[n]) and p.dtype == torch.float32 for n, p in model.named_parameters())


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_parametrised_weights_are_checked_in_train_mode(norm):
    model = getattr(torch.nn.utils.parametrizations, norm)(torch.nn.Linear(3, 4)).double().train()
    before = [b.clone() for b in model.buffers()]
    assert check(model, normal(2, 3)).verdict == "agree"
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), before, strict=True))


def test_a_wrapper_like_data_parallel_is_checked():
    wrapped = torch.nn.DataParallel(torch.nn.Linear(3, 2).double())
    assert "module.weight" in whole(check(wrapped, normal(2, 3))).index


class Scorer:
    """A callable object that holds a module."""

    def __init__(self, model):
        self.model = model

    def __call__(self, x):
        return self.model(x).square().sum()


LINEAR = torch.nn.Linear(3, 2).double()


def loss_of_the_global_model(x):
    return LINEAR(x).sum()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda m: m.forward, "weight"),
        (lambda m: functools.partial(m), "weight"),
        (lambda m: functools.partial(torch.nn.functional.linear, bias=None), None),
        (lambda m: lambda x: m(x).exp(), "m.weight"),
        (lambda m: Scorer(m), "model.weight"),
        (lambda m: Scorer(m).__call__, "model.weight"),
        (lambda m: loss_of_the_global_model, "LINEAR.weight"),
        (lambda m: lambda x: loss_of_the_global_model(x), "LINEAR.weight"),
    ],
)
def test_the_modules_that_a_callable_holds_are_differentiated_too(make, name):
    fn = make(torch.nn.Linear(3, 2).double())
    result = check(fn, (normal(2, 3),) if name else (normal(2, 3), normal(4, 3, seed=1)))
    assert result.verdict == "agree", result.explain()
    assert name is None or name in whole(result).index


def test_a_model_in_a_closure_is_left_untouched():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).double()
    check(lambda x: model(x).sum(), normal(5, 3), modes=("R", "F"))
    assert model[1].num_batches_tracked == 0 and torch.equal(model[1].running_mean, torch.zeros(4).double())


def test_tensors_within_a_transform_and_nested_ones_are_refused_by_name():
    with pytest.raises(UsageError, match=r"x is what torch.func \(vmap, grad, jvp\) hands to the function"):
        torch.func.grad(lambda x: check(lambda x: x.sin(), x) and x.sum())(normal(3))
    with pytest.raises(UsageError, match="x is a nested tensor"):
        check(lambda x: x.sin(), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))


@pytest.mark.parametrize("mode", ["R", "F", "RR"])
def test_numbers_in_eight_bits_are_unsupported_by_the_name_of_their_dtype(mode):
    x, short = torch.randn(4), torch.randn(4).to(torch.float8_e4m3fn)
    result = check(lambda x: x.to(torch.float8_e5m2).float() * 2.0, x, modes=(mode,))
    assert result.verdict == "unsupported" and "numbers of float8_e5m2" in result.explain()
    assert check(lambda x, w: x * w.float(), (x, short), modes=(mode,)).verdict == "unsupported"
    assert check(lambda x, w: x * w.float(), (x, short), modes=(mode,), wrt=[0]).verdict == "agree"
