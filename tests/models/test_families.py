"""Real models, small: gradients agree in both precisions, no operation is skipped, and a hidden fault is found."""

import pytest
from families import families
from gradwitness.harness import check
from hidden_fault import Right, Scaled, hidden, layers

FAMILIES = families()
EXPLAINED = "within the spread of a correct formula that loses digits"
FOUND = 0.95  # the share of hidden faults that is promised


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradients_of_a_model_agree_and_no_operation_is_skipped(family, dtype):
    model, inputs = FAMILIES[family]()
    result = check(model, inputs, dtypes=(dtype,))
    frame = result.frame
    assert result.unsupported == {}
    assert set(frame["verdict"]) <= {"agree", "inaccurate"}, result.explain()
    assert frame.loc[frame["verdict"] == "inaccurate", "message"].isin([EXPLAINED]).all(), result.explain()
    assert result.ok, result.explain()
    # every parameter has a row for its end-to-end gradient; shared weights have one row with all their names
    judged = {name for names in frame.loc[frame["program"] == "whole", "wrt"] for name in names.split(" = ")}
    assert judged >= {name for name, p in model.named_parameters() if p.requires_grad}


def is_found(result) -> bool:
    """Whether the result is a mismatch whose culprit is the line at which the faulty backward is written."""
    code = Scaled.backward.__code__
    culprit = result.culprit
    return (
        result.verdict == "mismatch"
        and culprit is not None
        and (culprit.file, culprit.line) == (code.co_filename, code.co_firstlineno)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fault_of_a_millionth_in_one_entry_behind_the_middle_layer_is_found_with_its_line(family):
    model, inputs = FAMILIES[family]()
    names = layers(model, inputs)
    with hidden(model, names[len(names) // 2]) as planted:
        result = check(model, inputs, dtypes=("float64",))
    assert planted and is_found(result), result.explain()


@pytest.mark.parametrize("family", ["mlp", "cnn", "gpt2"])
def test_the_same_function_without_a_fault_is_not_accused(family):
    model, inputs = FAMILIES[family]()
    names = layers(model, inputs)
    with hidden(model, names[len(names) // 2], Right):
        assert check(model, inputs, dtypes=("float64",)).verdict == "agree"


@pytest.mark.campaign
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fault_behind_any_layer_is_found_with_its_line_in_nearly_all_of_them(family, is_short_campaign):
    model, inputs = FAMILIES[family]()
    names = layers(model, inputs)
    found, missed, untouched = 0, [], 0
    for name in names[:: max(1, len(names) // 3)] if is_short_campaign else names:
        with hidden(model, name) as planted:
            result = check(model, inputs, dtypes=("float64",))
        if not planted:
            untouched += 1  # its result does not reach the output that is differentiated: no gradient, no fault
        elif is_found(result):
            found += 1
        else:
            missed.append(f"{name}: {result.explain()}")
    print(f"{family}: found with its line {found} of {found + len(missed)}; no gradient arrives in {untouched}")
    assert found >= FOUND * (found + len(missed)), "\n".join(missed)
