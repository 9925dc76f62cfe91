"""Every known issue carries a proof: one call that torch still answers wrongly and the witness rightly.

The right value is a closed form, evaluated by mpmath at 50 digits. A repair in torch fails the first test.
"""

import functools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from gradwitness.harness.errors import UsageError
from gradwitness.harness.evidence.known import load
from gradwitness.harness.evidence.proofs import Proof
from gradwitness.harness.evidence.short_scripts import short_script
from gradwitness.harness.evidence.three_numbers import witness_value
from gradwitness.harness.judgement.one_sided import WRONG_SUM, wrong_sums
from gradwitness.harness.runners.compiling import missing_compiler
from gradwitness.harness.runners.expressible import PER_SAMPLE
from gradwitness.reference_engine import ops, trace

ISSUES = load()
WRONG = [k for k in ISSUES if k.proof is not None and k.proof.right]
REFUSED = [k for k in ISSUES if k.proof is not None and k.proof.raises]
# Beside the nearest float: some of the witness's rules are several operations, and eigenvectors go through LAPACK.
WITNESS_ULPS = 64


# What torch composes of several operations, each right in itself: the witness's own function stands for the whole.
COMPOSED = {"ndtr-left-tail": ops.ndtr}


# What is right there is the rule that a Function's author wrote, which is not the derivative of its forward.
RULE_OF_ITS_OWN = "dynamo-drops-a-function-s-own-tangent"
# Compiling takes seconds each: one in the default run, all of them in the campaign.
needs_compiler = pytest.mark.skipif(missing_compiler() is not None, reason=f"{missing_compiler()}")
QUICK = "inductor-extremum-of-recomputed-values"


def named(issues):
    def marks(k):
        if "compile" not in k.proof.runner:
            return ()
        return (needs_compiler,) if k.id == QUICK else (needs_compiler, pytest.mark.campaign)

    return [pytest.param(k, id=k.id, marks=marks(k)) for k in issues]


def uncompiled(issues):
    return [pytest.param(k, id=k.id) for k in issues if k.id != RULE_OF_ITS_OWN]


@functools.cache
def torch_value(name: str) -> float:
    """What torch answers to the proof of an issue, asked once."""
    (issue,) = [k for k in ISSUES if k.id == name]
    return issue.proof.torch_value()


def of_one_sample(proof: Proof) -> Proof:
    """The proof itself; of per-sample gradients that of the sample in question, which is a call of its own."""
    if proof.runner not in PER_SAMPLE:
        return proof
    return replace(proof, inputs=(proof.inputs[0][proof.entry[0]],), entry=proof.entry[1:], runner="")


@pytest.mark.parametrize("issue", named(WRONG))
def test_torch_still_gives_a_wrong_number(issue):
    value = torch_value(issue.id)
    assert not issue.proof.holds(value), f"{issue.id}: torch now gives {value}, which is right: it has been repaired"
    assert issue.proof.runner or issue.proof.shows()


@pytest.mark.parametrize("issue", uncompiled([k for k in WRONG if WRONG_SUM not in k.operations]))
def test_the_witness_gives_the_closed_form(issue):
    right, x = issue.proof.right_value(), np.array(issue.proof.inputs[0])
    value = witness_value(of_one_sample(issue.proof)) if issue.id not in COMPOSED else float(COMPOSED[issue.id](x))
    assert value == pytest.approx(right, rel=WITNESS_ULPS * 2.0**-52, abs=0.0)


def test_one_sided_derivatives_tell_where_legitimate_choices_add_up_to_a_wrong_sum():
    (issue,) = [k for k in WRONG if WRONG_SUM in k.operations]
    proof, x = issue.proof, np.array(0.0)
    assert proof.call == "torch.relu(x) - torch.relu(-x)"
    program = trace(lambda x: ops.relu(x) - ops.relu(-x), x)
    ((wrong, found, right),) = wrong_sums(program, [x], [np.ones(())], [np.ones(())], "R", [proof.torch_value()])
    assert (wrong, found, right) == (True, 0.0, proof.right_value())
    alone = trace(ops.relu, x)
    assert wrong_sums(alone, [x], [np.ones(())], [np.ones(())], "R", [0.0]) == [(False, 0.0, 0.0)]


@pytest.mark.parametrize("issue", named(WRONG))
def test_torch_is_wrong_in_more_than_its_last_digits(issue):
    # an entry excuses a wrong formula or a special value, never rounding
    right, value = issue.proof.right_value(), torch_value(issue.id)
    both = math.isfinite(value) and math.isfinite(right)
    assert not both or abs(value - right) > 1e3 * math.ulp(right), (value, right)


@pytest.mark.parametrize("issue", named(REFUSED))
def test_torch_still_refuses(issue):
    with pytest.raises(Exception, match=issue.proof.raises):
        issue.proof.torch_value()
    assert issue.proof.shows()


def test_every_entry_has_a_proof_and_the_proof_is_asked_in_a_mode_the_entry_covers():
    assert [k.id for k in ISSUES if k.proof is None] == []
    assert len({k.operations for k in ISSUES}) >= 12
    for k in ISSUES:
        assert not k.modes or k.proof.mode in k.modes, k.id


@pytest.mark.parametrize("issue", named([k for k in ISSUES if k.workaround is not None]))
def test_torch_gives_the_right_number_when_it_is_asked_as_the_entry_advises(issue):
    value = issue.workaround.torch_value()
    assert issue.workaround.holds(value), f"{issue.id}: {value}, right is {issue.workaround.right_value()}"


def test_every_entry_says_what_to_do_instead():
    assert [k.id for k in ISSUES if not k.instead] == []
    unchecked = {k.id for k in ISSUES if k.workaround is None}
    assert unchecked == {"logcumsumexp-forward-of-nothing", "ctc-second-order-not-implemented"}


@pytest.mark.parametrize("issue", named(ISSUES))
def test_the_script_on_the_page_of_findings_prints_both_numbers(issue, capsys):
    text = compile(short_script(issue.proof), issue.id, "exec")
    if issue.proof.raises:
        with pytest.raises(Exception, match=issue.proof.raises):
            exec(text, {})
        return
    exec(text, {})
    found = re.fullmatch(r"torch: (\S+) right: (\S+)\n", capsys.readouterr().out)
    assert found and not issue.proof.holds(float(found[1]))
    assert float(found[2]) == issue.proof.right_value()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"call": "x", "inputs": [1.0], "mode": "R"}, "either right or raises"),
        ({"call": "x", "inputs": [1.0], "mode": "R", "right": "1", "raises": "no"}, "either right or raises"),
        ({"call": "x", "inputs": [1.0], "mode": "Q", "right": "1"}, "has mode 'Q'"),
        ({"call": "x", "inputs": [1.0], "mode": "R", "right": "1", "colour": "red"}, "unknown \\['colour'\\]"),
    ],
)
def test_a_damaged_proof_is_refused_naming_the_entry(data, sentence):
    with pytest.raises(UsageError, match=f"proof of some-id.*{sentence}"):
        Proof.of(data, "some-id")


def test_a_proof_that_torch_answers_rightly_does_not_show():
    assert not Proof("x * x", (3.0,), "R", "6").shows()
    assert Proof("x * x", (3.0,), "R", "6.001").shows()
    assert not Proof("x * x", (3.0,), "R", raises="not implemented").shows()
    assert not Proof("x.no_such_method()", (3.0,), "R", raises="not implemented").shows()


@pytest.mark.parametrize(
    ("issue", "mode", "runner", "seen", "other"),
    [
        ("logsumexp-tangent-written-in-place", "RF", "checkpoint", "_softmax.default", "_masked_softmax.default"),
        ("prod-of-zeros-under-transforms", "R", "func", "prod.dim_int", "prod.int_out"),
        ("inductor-deviation-in-single-precision", "R", "compile", "std.correction", "std_mean.correction"),
    ],
)
def test_a_fault_of_a_runner_is_known_by_the_operations_it_was_seen_with_alone(issue, mode, runner, seen, other):
    found = next(k for k in load() if k.id == issue)
    asked = [runner], mode, runner, "float32", "mismatch", float("nan")
    assert found.covers(*asked, {f"aten::{seen}"})
    assert not found.covers(*asked, {f"aten::{other}"})


def test_a_custom_function_in_compiled_code_is_known_where_its_rule_was_dropped_alone():
    found = next(k for k in load() if k.id == "dynamo-drops-a-function-s-own-tangent")
    asked = ["compile_jvp"], "F", "compile_jvp", "float64", "mismatch", 0.0, {"torch.autograd.Function"}
    assert found.covers(*asked, "this runner gives 0: it drops that rule")
    assert not found.covers(*asked, "")
