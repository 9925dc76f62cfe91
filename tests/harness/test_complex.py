"""Complex numbers in `check`: gradients ∂L/∂x + i ∂L/∂y by closed forms, and what they pass through."""

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import check

EXACT = 1e-14  # relative: a few roundings of 1.1e-16 in closed forms of at most ten operations
Z = torch.tensor([0.6 + 0.8j, -1.5 + 0.5j, 2.0 - 1.0j], dtype=torch.complex128)


def whole(result, wrt="z"):
    rows = result.frame[(result.frame["program"] == "whole") & (result.frame["wrt"] == wrt)]
    return rows.iloc[0]


def gradient_at(result, right, wrt="z"):
    """The witness's number at its worst entry, and the closed form's there."""
    row = whole(result, wrt)
    index, _, part = row["entry"].partition("]")
    number = right.reshape(-1)[int(index.strip("[")) if index.strip("[") else 0]
    return row["reference_value"], (number.real if part == ".real" else number.imag).item()


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
@pytest.mark.parametrize(
    ("loss", "gradient"),
    [
        (lambda z: z.abs().square().sum(), lambda z: 2 * z),
        (lambda z: z.abs().sum(), lambda z: z / z.abs()),
        (lambda z: z.angle().sum(), lambda z: 1j * z / z.abs() ** 2),
        (lambda z: z.real.sum(), lambda z: torch.ones_like(z)),
        (lambda z: z.imag.sum(), lambda z: 1j * torch.ones_like(z)),
        (lambda z: z.square().real.sum(), lambda z: 2 * z.conj()),
        (lambda z: z.exp().real.sum(), lambda z: z.exp().conj()),
        (lambda z: z.log().imag.sum(), lambda z: (-1j / z).conj()),
        (lambda z: z.sin().real.sum(), lambda z: z.cos().conj()),
        (lambda z: (1 / z).real.sum(), lambda z: (-1 / z**2).conj()),
        (lambda z: (z * z.conj()).real.mean(), lambda z: 2 * z / 3),
        (lambda z: torch.view_as_real(z).square().sum(), lambda z: 2 * z),
        (lambda z: ((2 + 1j) * z).real.sum(), lambda z: torch.full_like(z, 2 - 1j)),
    ],
)
def test_the_gradient_of_a_real_loss_is_its_closed_form(loss, gradient, dtype):
    """With z = x + iy the gradient is ∂L/∂x + i ∂L/∂y; for L = Re f with f holomorphic it is the conjugate of f'."""
    result = check(lambda z: loss(z), Z.to(dtype))
    assert result.verdict == "agree", result.explain()
    mine, right = gradient_at(result, gradient(Z))
    half = EXACT if dtype == torch.complex128 else 1e-6  # the values of a complex64 run are rounded to 6e-8
    assert mine == pytest.approx(right, rel=half, abs=half)
    assert whole(result)["dtype"] == str(dtype).removeprefix("torch.")


FUNCTIONS = {
    **{
        name: getattr(torch, name)
        for name in (
            "exp log log2 log10 log1p sqrt rsqrt sin cos tan sinh cosh tanh sigmoid abs angle real imag conj "
            "reciprocal square sgn neg sum mean prod view_as_real"
        ).split()
    },
    "product": lambda z: z * z.roll(1),
    "quotient": lambda z: (1 + z) / z.flip(0),
    "powers": lambda z: z**3 + z**2.5 + 2**z + z**0.5 + z**-1,
    "power of itself": lambda z: z**z,
    "constants": lambda z: (2 + 1j) * z - 1j / z + 3j,
    "matrix product": lambda z: z[None] @ torch.stack([z, z.conj()], 1),
    "dot products": lambda z: torch.vdot(z, z.exp()) + torch.dot(z, z),
    "addmm": lambda z: torch.addmm(z[:, None] * z, z[:, None], z[None], alpha=2, beta=1j),
    "norm": lambda z: z.norm(),
    "indexing": lambda z: torch.cat([z[[0, 0, 2]] * z[1], z.conj()]),
    "where": lambda z: torch.where(z.real > 0, z, z.conj()),
    "polar": lambda z: torch.polar(z.abs(), z.angle()),
    "from parts": lambda z: torch.complex(z.real, z.imag**2).exp(),
    "imaginary part of a conjugate": lambda z: z.conj().imag,
    "einsum": lambda z: torch.einsum("i,j->ij", z, z),
    "cumsum": lambda z: z.cumsum(0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_of_complex_operations_are_compared(name):
    result = check(FUNCTIONS[name], Z)
    assert result.verdict == "agree", result.explain()
    assert (result.frame["quantity"] == "value").any() and not result.unsupported


def test_scaling_in_place_through_every_kind_of_view_is_followed():
    def fn(z):
        y = z * 1
        y.mul_(2j)
        torch.view_as_real(y).mul_(3)
        y.real.add_(1)
        y[1] = z[0]
        return y * y.conj() * z.conj()

    assert check(fn, Z).verdict == "agree"


@pytest.mark.parametrize("view", [torch.conj, torch.view_as_real, lambda y: y[1:]])
@pytest.mark.parametrize("writes_base", [True, False])
def test_a_view_and_its_base_see_each_other_s_writes(view, writes_base):
    def fn(z):
        y = z * 1
        w = view(y)
        (y if writes_base else w).mul_(3.0)
        return (w * w).sum(), y * y

    result = check(fn, Z)
    assert result.verdict == "agree", result.explain()


def test_real_leaves_of_a_complex_run_have_real_gradients_in_every_mode():
    """|e^x e^{ix}|² = e^{2x}, with the derivative 2 e^{2x}."""
    x = torch.tensor([0.3], dtype=torch.float64)
    result = check(lambda x: torch.polar(x.exp(), x).abs().square().sum(), x, modes=("R", "F", "RR"))
    assert result.verdict == "agree", result.explain()
    assert whole(result, "x")["reference_value"] == pytest.approx(2 * (2 * x).exp().item(), rel=EXACT)


def test_complex_parameters_and_precisions_by_name():
    model = torch.nn.Linear(3, 2, dtype=torch.complex128)
    result = check(model, Z[None], dtypes=("float64", "float32"))
    assert result.verdict == "agree", result.explain()
    assert set(result.frame[result.frame["program"] == "whole"]["dtype"]) == {"complex128", "complex64"}
    assert model.weight.dtype == torch.complex128


# e^z with the slip of leaving out the conjugate of its derivative
WithoutConjugate = with_backward("WithoutConjugate", torch.exp, torch.exp)


def test_a_forgotten_conjugate_is_found_with_its_line_and_part():
    result = check(WithoutConjugate.apply, Z)
    culprit = result.culprit
    assert (result.verdict, culprit.kind) == ("mismatch", "custom Function")
    assert culprit.line == WithoutConjugate.backward.__code__.co_firstlineno
    assert culprit.part in (".real", ".imag") and f"{list(culprit.entry)}{culprit.part}" in result.explain()


def test_the_gradient_of_the_angle_of_a_tiny_number_is_a_mismatch():
    """∂ arg(z)/∂x = -y/|z|², which is -5e299 at x = y = 1e-300; PyTorch squares 1e-300 and has NaN."""
    assert check(torch.angle, torch.tensor([1e-300 + 1e-300j], dtype=torch.complex128)).verdict == "mismatch"


def test_complex_operations_without_a_rule_are_unsupported_by_name():
    result = check(torch.asin, Z)
    assert result.verdict == "unsupported" and list(result.unsupported) == ["aten::asin.default"]
    assert "aten::asin.default: no rule in the witness for complex numbers" in result.explain()


@pytest.mark.parametrize("runner", ["autograd", "func", "save_on_cpu"])
def test_complex_inputs_outputs_and_parameters_are_compared_in_every_mode(runner):
    model = torch.nn.Linear(3, 2, dtype=torch.complex128)
    for fn in (torch.exp, torch.abs, model, lambda z: torch.outer(z, z.conj()) @ z, lambda z: z.sum(), lambda z: z**z):
        result = check(fn, Z, modes=("R", "F", "RR", "FR", "RF", "FF"), runners=(runner,))
        compared = result.frame[result.frame["verdict"] == "agree"]
        assert set(compared["mode"]) >= {"R", "F", "RR", "FR", "RF"}, result.explain()
        assert set(result.frame["verdict"]) <= {"agree", "unsupported"}, result.explain()
        assert set(result.unsupported) <= {f"{runner} in mode FF"}


def test_the_tangent_of_a_forgotten_conjugate_is_named_by_its_part():
    """z ↦ z̄ z has the tangent 2 Re(z̄ t); without the conjugate of t it is z̄ t + z t̄ only where t is real."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(z):
            return z.conj() * z

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_forward(*inputs)

        @staticmethod
        def jvp(ctx, t):
            (z,) = ctx.saved_tensors
            return z.conj() * t + z * t

    result = check(Wrong.apply, Z, modes=("F",))
    assert result.verdict == "mismatch" and result.culprit.part in (".real", ".imag"), result.explain()


@pytest.mark.parametrize(
    "fn",
    [
        lambda z: z.masked_fill(z.real > 0, 10.0),
        lambda z: z.masked_fill(z.real > 0, 3),
        lambda z: z.masked_fill(z.real > 0, 1.0 - 2.0j),
        lambda z: torch.nn.functional.pad(z, (1, 2), value=2.0),
        lambda z: z.softmax(-1, dtype=torch.float64),
        lambda z: z.sin().to(torch.float64).exp(),
    ],
    ids=["filled", "filled by an integer", "filled by a complex number", "padded", "softmax of real parts", "cast"],
)
@pytest.mark.parametrize("shape", [(3, 4), (), (2, 0)])
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
def test_numbers_that_are_filled_in_are_real_and_a_cast_drops_the_imaginary_part(fn, shape):
    z = torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    if shape == () and fn(torch.ones(2, 2, dtype=z.dtype)).shape[-1] > 2:
        pytest.skip("a number without axes is not padded")
    assert check(fn, z).verdict == "agree"


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
@pytest.mark.parametrize("mode", ["R", "F", "RR"])
@pytest.mark.parametrize("fn", [torch.tanh, torch.tan, torch.sigmoid], ids=["tanh", "tan", "sigmoid"])
def test_where_a_complex_tangent_is_flat_a_slope_of_lost_digits_is_inaccurate_and_no_mismatch(fn, mode, dtype):
    """PyTorch forms 1 - tanh² of the rounded tanh, as it does of real numbers."""
    z = torch.randn(40, dtype=dtype, generator=torch.Generator().manual_seed(5))
    assert check(fn, z, modes=mode).verdict == "agree"
    assert check(fn, 20 * z, modes=mode).verdict == "inaccurate"
