"""Generated programs: what they hold, that they are the same for the same seed, and what they shrink to."""

from __future__ import annotations

import statistics
from collections import Counter
from random import Random

import numpy as np
import pytest
from gradwitness.harness.campaigns.generated import draw_cases
from gradwitness.harness.errors import UsageError
from gradwitness.harness.evidence.cases import CaseError
from gradwitness.harness.generation.contents import inside, into
from gradwitness.harness.generation.drawn import Case
from gradwitness.harness.generation.fixed_draws import without_constants_of_modules
from gradwitness.harness.generation.pool import Limits, Pool
from gradwitness.harness.strategies import FEWEST, expressions, networks, programs, steps
from gradwitness.reference_engine.evaluate import evaluate
from gradwitness.reference_engine.registry import ELEMENTWISE, PRIMITIVES
from hypothesis import HealthCheck, find, given, settings

QUICK = settings(max_examples=2000, database=None, deadline=None, suppress_health_check=list(HealthCheck))
DRAWN = 500


@pytest.fixture(scope="module")
def drawn() -> list[Case]:
    return draw_cases(programs(), DRAWN, seed=5)


def constants(case: Case) -> list[np.ndarray]:
    return [np.asarray(c) for c in case.program.constants.values()]


def test_every_primitive_that_can_be_drawn_is_drawn_from():
    missing = [n for n, p in PRIMITIVES.items() if p.draw and n not in steps()]
    assert not missing
    assert {"less", "equal", "logical_and", "isnan"} <= set(steps()), "comparisons are drawn as conditions of a choice"
    assert set(steps()) <= set(PRIMITIVES)


def test_half_of_the_programs_have_at_least_six_operations(drawn):
    assert statistics.median(c.operations for c in drawn) >= 6
    assert sum(c.operations < FEWEST for c in drawn) < 0.1 * DRAWN  # fewer only where values were not wanted further


def test_equal_seeds_draw_equal_programs_and_other_seeds_others(drawn):
    again = draw_cases(programs(), 20, seed=5)
    once_more = draw_cases(programs(), 20, seed=5)
    assert [repr(c) for c in again] == [repr(c) for c in once_more]
    assert [repr(c) for c in again] != [repr(c) for c in draw_cases(programs(), 20, seed=6)]


def test_what_is_drawn_and_not_kept_is_counted_with_its_reason(drawn):
    reasons = Counter[str]()
    for c in drawn:
        reasons.update(c.left_out)
    assert reasons and all(": " in r for r in reasons)
    refused = sum(n for r, n in reasons.items() if "refused" in r)
    operations = sum(c.operations for c in drawn)
    assert refused <= 0.02 * operations, f"draws that operations refuse are a waste: {reasons.most_common(5)}"


def test_inputs_are_free_of_nan_unless_asked_for(drawn):
    assert not any(np.isnan(x).any() for c in drawn for x in c.inputs)
    asked = draw_cases(programs(nonfinite=True), 100, seed=1)
    assert any(np.isnan(x).any() for c in asked for x in c.inputs)


def test_values_are_finite_in_nearly_all_programs(drawn):
    bad = [c for c in drawn if not all(np.isfinite(y).all() for y in _outputs(c))]
    assert len(bad) <= 0.1 * DRAWN


def _outputs(case: Case) -> list[np.ndarray]:
    result = evaluate(case.program, *case.inputs)
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize(
    "what, holds",
    [
        ("an exact zero", lambda c: any((x == 0.0).any() for x in c.inputs)),
        ("a tie", lambda c: any(x.size > 2 and len(np.unique(x)) < x.size for x in c.inputs)),
        ("a saturated entry", lambda c: any((np.abs(x) >= 40.0).any() for x in c.inputs)),
        ("half-integers", lambda c: any(x.size > 3 and (x * 2 == np.round(x * 2)).all() for x in c.inputs)),
        ("an ambiguous shape", lambda c: any(len(x.shape) == 3 and len(set(x.shape)) == 1 for x in c.inputs)),
        ("duplicate indices", lambda c: any(x.dtype.kind == "i" and len(np.unique(x)) < x.size for x in constants(c))),
        ("-inf among logits", lambda c: any(np.isneginf(x).any() for x in c.inputs)),
        ("a magnitude of 1e30", lambda c: any((np.abs(x) == 1e30).any() for x in c.inputs)),
        ("a magnitude of 1e-30", lambda c: any((np.abs(x) == 1e-30).any() for x in c.inputs)),
        ("an empty axis", lambda c: any(0 in v.shape for v in c.program.variables())),
        ("no axis at all", lambda c: any(x.ndim == 0 for x in c.inputs)),
    ],
)
def test_programs_hold_what_has_found_faults_before(drawn, what, holds):
    assert any(holds(c) for c in drawn), what


def test_operands_broadcast_in_both_directions(drawn):
    left = right = 0
    for c in drawn:
        for e in c.program.equations:
            if PRIMITIVES[e.primitive].kind == ELEMENTWISE and len(e.inputs) == 2:
                y = e.outputs[0].shape
                left += e.inputs[0].shape != y
                right += e.inputs[1].shape != y
    assert left >= 10 and right >= 10


def test_expressions_are_elementwise_and_have_few_inputs():
    for c in draw_cases(expressions(), 60, seed=2):
        assert all(PRIMITIVES[e.primitive].kind == ELEMENTWISE for e in c.program.equations)
        assert len(c.inputs) <= 6  # three, and one more for each operation that needs an array of its own


def test_networks_hold_every_layer_and_two_samples_at_least():
    cases = draw_cases(networks(), 150, seed=3)
    seen = {p for c in cases for p in c.primitives}
    assert {"matmul", "conv", "standardize", "max_pool", "avg_pool", "softmax", "log_softmax", "take", "relu"} <= seen
    assert all(c.inputs[0].shape[0] >= 2 for c in cases if c.inputs[0].ndim >= 2)


def test_long_programs_hold_thousands_of_entries():
    assert max(c.elements for c in draw_cases(programs(long=True), 200, seed=4)) >= 4_000


def smallest_with(name: str) -> Case:
    """The smallest of three searches: one may end where no single step of hypothesis's shrinker goes on."""

    def search(seed: int) -> Case:
        return find(programs(fewest=1), lambda c: name in c.primitives, settings=QUICK, random=Random(seed))

    with without_constants_of_modules():
        return min((search(seed) for seed in range(3)), key=lambda c: len(c.primitives))


@pytest.mark.parametrize("name", ["sinh", "prod"])
def test_a_program_that_needs_an_operation_shrinks_to_it_alone_at_one(name):
    case = smallest_with(name)
    assert case.primitives == [name]
    assert case.elements == 1 and case.inputs[0].reshape(-1).tolist() == [1.0]


@pytest.mark.parametrize("name", ["softmax", "cumprod"])
def test_operations_that_need_shapes_shrink_to_few_equations_of_few_entries(name):
    case = smallest_with(name)
    assert case.operations <= 4 and case.elements <= 4


@settings(max_examples=30, deadline=None)
@given(programs())
def test_a_case_survives_json(case):
    back = Case.from_json(case.to_json())
    assert str(back.program) == str(case.program)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(back.inputs, case.inputs, strict=True))


def test_a_damaged_case_is_refused_in_one_sentence():
    data = draw_cases(programs(), 1, seed=0)[0].to_json()
    with pytest.raises(CaseError, match="Case.from_json: .*accepted is what Case.to_json writes"):
        Case.from_json({**data, "inputs": []})
    with pytest.raises(CaseError, match="Case.from_json"):
        Case.from_json({"program": data["program"]})


def test_a_primitive_that_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(UsageError, match="only holds 'nonsense'; accepted are"):
        programs(only=["nonsense"])


@pytest.mark.parametrize("domain", ["real", "positive", "nonnegative", "unit", "above_one"])
def test_contents_are_moved_into_their_domain(domain):
    x = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 40.0, -88.0, 1e30, -1e-30])
    assert inside(domain, into(domain, x))


def test_all_zero_draws_give_the_simplest_values():
    pool = Pool(lambda low, high: low, Limits())
    x = pool.array()
    assert x.ndim <= 1 and np.all(x.value == 1.0)
    assert pool.length() == 1 and pool.axis(3) == 0 and pool.choice("abc") == "a"
