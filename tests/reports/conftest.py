"""A realistic made-up run for the report's tests: 300 operations, 12 findings, 300 entries not covered, long names."""

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradwitness.reports import frame_from_rows, write_report

TITLE = "Gradients are never cleared, so every step uses the sum of all batches so far"
MODES = ("R", "F", "RR", "FR", "RF", "FF")
FAULTS = (
    ("linalg.det.singular", "linalg_det", "R", "−0.0", "12.0", "pytorch/pytorch#196682"),
    ("logcumsumexp", "logcumsumexp", "F", "0.0", "1.9287498479639178e-22", None),
    ("cumprod", "cumprod", "FF", "0.0", "6.0", None),
    ("cholesky_inverse", "cholesky_inverse", "F", "-25.0", "-2.5", "https://example.org/issues/197010"),
    ("nn.functional.huber_loss", "huber_loss_double_backward", "RR", "nan", "1.0", "closed form: 2 a b"),
    ("renorm", "renorm", "RF", "[1.5, -0.25, 3.0]", "[1.5, 0.25, 3.0]", "pytorch/pytorch#111111"),
)


def fake_rows(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """`count` comparisons over 300 operations; about one in seven operations does not always agree."""
    draw = random.Random(seed)
    ops = [f"special.operation_number_{i}" if i % 3 else f"nn.functional.op{i}" for i in range(299)]
    ops.append("nn.functional.scaled_dot_product_attention_with_an_unreasonably_long_variant_name.memory_efficient")
    rows: list[dict[str, Any]] = []
    for i in range(count):
        number = draw.randrange(len(ops))
        mode = draw.choice(MODES)
        row: dict[str, Any] = {
            "case": f"opinfo-{i // 3}",
            "source": draw.choice(("generated", "opinfo")),
            "op": ops[number],
            "program": f"p{i // 3}",
            "mode": mode,
            "runner": "autograd" if draw.random() < 0.9 else "vmap",
            "dtype": draw.choice(("float64", "float32")),
            "device": "cpu",
            "layout": "contiguous",
            "quantity": "derivative",
            "order": len(mode),
            "wrt": "input",
            "verdict": "agree",
            "z": 0.0 if draw.random() < 0.3 else draw.lognormvariate(-0.3, 0.7),
            "seed": i,
            "seconds": draw.random() / 100,
        }
        if number % 7 == 0 and draw.random() < 0.25:
            row |= _not_agreeing(draw, number)
        rows.append(row)
    return rows


def _not_agreeing(draw: random.Random, number: int) -> dict[str, Any]:
    kind = draw.choice(("convention", "inaccurate", "unsupported", "raised", "indeterminate", "convention", "mismatch"))
    reference = draw.uniform(-2, 2)
    numbers = {"torch_value": reference * 1.01, "reference_value": reference, "rel_error": 0.01, "abs_error": 0.02}
    if kind == "convention":
        return {"verdict": kind, **numbers, "message": "PyTorch takes 0 at the kink |x| = 0; [-1, 1] is legitimate"}
    if kind == "inaccurate":
        return {"verdict": kind, **numbers, "ulp": 4.2e5, "z": 3e3, "entry": "(0, 3)"}
    if kind == "mismatch":
        z = draw.choice((1e3, 3e5, 1e12, float("inf"), float("nan")))
        return {"verdict": kind, **numbers, "z": z, "finding": f"f{number % 12}-op", "culprit": "aten::op"}
    finding = {"finding": f"f{number % 12}-op"} if kind == "raised" else {}
    message = f"{kind}: derivative for aten::thing_{number} is not implemented"
    return {"verdict": kind, "z": None, **finding, "message": message}


def fake_findings(count: int = 12) -> list[dict[str, Any]]:
    """Findings of all three groups, with values as numbers, text and lists."""
    found = []
    for i in range(count):
        op, culprit, mode, torch_value, right_value, known = FAULTS[i % len(FAULTS)]
        found.append(
            {
                "id": f"f{i}-op",
                "op": op,
                "culprit": f"aten::{culprit}",
                "mode": mode,
                "runner": "autograd" if i < 6 else "func",
                "dtype": "float64",
                "verdict": "inaccurate" if i == 11 else "mismatch",
                "z": float("inf") if i % 4 == 0 else 10.0 ** (i + 2),
                "known": known if i < 10 else None,
                "equations": 1 + i % 3,
                "elements": 2 + i,
                "torch_value": float("nan") if i == 4 else torch_value,
                "right_value": right_value,
                "note": "The forward rule drops the term of the leading element, which matters once it lies 37 below.",
                "fails": known is None and i < 10,
                "script": f"import math\nimport torch\nx = torch.tensor([{i}.0], dtype=torch.float64)\n"
                + "print(f'torch={x.item()} right={math.pi}')  # "
                + "a long comment " * 9
                + "\nraise SystemExit(1)\n",
                "case": {"program": ["y = sin(x)"], "inputs": {"x": [float("nan"), 1.5, float("-inf")]}, "seed": i},
                "line": "train.py:42" if i % 2 else None,
            }
        )
    return found


def fake_pieces(count: int = 12_000) -> dict[str, Any]:
    """All arguments of write_report except `out`."""
    draw = random.Random(3)
    covered = [
        {"name": f"op{i}", "source": "opinfo", "status": "compared", "comparisons": 40 + i, "verdict": "agree"}
        for i in range(240)
    ]
    reasons = ["no rule for aten::" + name for name in ("fft_c2c", "linalg_eig", "special_zeta", "grid_sampler_2d")]
    missed = [
        {
            "name": f"special.long_operation_name_{i}",
            "source": "opinfo",
            "status": "not covered",
            "reason": reasons[min(i % 9, 3)]
            if i % 17
            else f"sample {i} raised RuntimeError: expected a floating tensor",
        }
        for i in range(300)
    ]
    covered += [
        {"name": name, "source": "primitive", "status": "compared", "comparisons": 900, "verdict": "convention"}
        for name in ("abs", "max")
    ]
    steps = list(range(100))
    loss = [2.3 * 0.96**i + 0.05 for i in steps]
    return {
        "frame": frame_from_rows(fake_rows(count)),
        "metadata": {
            "torch_version": "2.13.0",
            "versions": {"torch": "2.13.0", "numpy": "2.4.0", "pandas": "3.1.1", "python": "3.11.2"},
            "platform": "Linux x86_64, AVX2",
            "threads": 1,
            "command": ["gradwitness", "run", "--out", "out"],
            "seed": 7,
            "seconds": 312.4,
            "threshold": 12.0,
            "warning": "torch 2.14.1 has not been tested with this version of gradwitness (tested: 2.13.0).",
        },
        "findings": fake_findings(),
        "coverage": covered + missed,
        "lockstep": {
            "step": steps,
            "z": [abs(draw.gauss(2.2, 0.6)) for _ in steps],
            "loss_torch": loss,
            "loss_witness": [x * (1 + 1e-7) for x in loss],
            "threshold": 12.0,
            "title": "Two-layer classifier on the digits of scikit-learn, 100 steps of SGD, float32.",
        },
        "pitfalls": [
            {
                "id": f"accumulate-{i}",
                "title": TITLE,
                "family": ("accumulation", "detach", "in-place")[i % 3],
                "symptom": "silently wrong value",
                "torch": 6.0,
                "right": 3.0,
                "fixed": 3.0,
                "shown": i != 5,
            }
            for i in range(12)
        ],
    }


@pytest.fixture(scope="session")
def fake() -> SimpleNamespace:
    """The builders of this file: `rows(count)`, `findings(count)`, `pieces(count)`."""
    rows: Callable[..., Any] = fake_rows
    return SimpleNamespace(rows=rows, findings=fake_findings, pieces=fake_pieces)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up run with 300 comparisons, written once; copy it before changing anything."""
    return write_report(out=tmp_path_factory.mktemp("written") / "deep" / "out", **fake_pieces(300))
