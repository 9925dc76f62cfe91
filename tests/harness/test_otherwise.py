"""Samples of op_db run otherwise: by another runner, per sample under vmap, and in place."""

import pytest
import torch
from gradwitness.harness import UsageError
from gradwitness.harness.campaigns.campaign import Options, run_campaign
from gradwitness.harness.campaigns.opinfo import entries
from gradwitness.harness.campaigns.otherwise import WAYS, again, ways
from gradwitness.harness.campaigns.units import run_unit
from gradwitness.harness.campaigns.work import Unit
from gradwitness.reports.views import sample_counts


def entry(name: str):
    return next(e for e in entries() if e.name == name)


def ran(name: str, *runners: str, modes=("R",)):
    return run_unit(Unit("opinfo", name, modes, 0, runners=runners))


@pytest.mark.parametrize("way", ["create_graph", "vmap", "in_place", "func", "checkpoint", "save_on_cpu"])
def test_a_right_operation_agrees_in_every_way(way):
    result = ran("tanh", way, modes=("R", "F"))
    derivatives = [r for r in result.rows if r.get("quantity") == "derivative"]
    assert {r["mode"] for r in derivatives} == {"R", "F"}
    refused = {r["mode"] for r in result.rows if r["verdict"] == "unsupported"}
    assert refused == ({"F"} if way == "create_graph" else set())
    assert {r["verdict"] for r in result.rows if r["mode"] not in refused} == {"agree"}
    assert {r["op"] for r in result.rows} == {"tanh, in place" if way == "in_place" else "tanh"}
    assert {r["runner"] for r in result.rows} == {"autograd" if way == "in_place" else way}
    assert not result.candidates


def test_a_batch_of_vmap_holds_two_draws_of_the_first_input():
    (number, subject), *_ = ways(entry("linalg.cholesky"), "vmap", 0)
    first, second = subject.leaves[0].detach()
    assert not torch.equal(first, second)
    same = again(entry("linalg.cholesky"), number, "vmap", 0)
    assert same is not None and torch.equal(same.leaves[0], subject.leaves[0])


def test_what_is_wrong_eagerly_is_wrong_by_the_runner_and_its_script_shows_the_operation():
    result = ran("cholesky_inverse", "vmap", modes=("F",))
    found = [c for c in result.candidates if c.verdict == "mismatch"]
    assert found and {c.runner for c in found} == {"vmap"}
    assert {c.culprit for c in found} == {"aten::cholesky_inverse.default"}
    assert all("torch.func.jvp" in c.script for c in found)


@pytest.mark.parametrize("name", ["polygamma.polygamma_n_1", "conj_physical", "lerp", "addmm", "index_add"])
def test_arguments_of_an_in_place_variant_are_read_as_its_own(name):
    verdicts = [r["verdict"] for r in ran(name, "in_place").rows]
    assert verdicts and not {"unsupported", "raised", "crashed"} & set(verdicts)


def test_what_a_way_refuses_is_unsupported_and_what_it_fails_at_is_a_known_issue():
    result = ran("atanh", "in_place", modes=("F",))
    assert {r["verdict"] for r in result.rows} == {"unsupported"}
    campaign = run_campaign(Options("opinfo", ("R",), only=("to",), workers=1, runners=("vmap",)))
    assert campaign.findings and not campaign.fails
    assert all("memory format" in f["known"] for f in campaign.findings)


def test_coverage_counts_every_way_beside_the_plain_one():
    result = ran("exp", "autograd", "vmap", "in_place")
    counts = {c.source: c for c in sample_counts(result.coverage)}
    assert set(counts) == {"opinfo", "opinfo by vmap", "opinfo by in_place"}
    assert result.coverage[0]["status"] == "compared"
    assert all(c.compared == c.samples > 0 for c in counts.values())


def test_a_way_that_does_not_exist_is_refused_with_the_names_of_those_that_do():
    with pytest.raises(UsageError, match="--runners 'inplace'; accepted are autograd, func, vmap.*in_place"):
        Options("opinfo", runners=("inplace",)).checked()
    assert WAYS[-1] == "in_place"


@pytest.mark.campaign
def test_a_slice_of_the_census_by_other_runners_finds_nothing_new():
    names = tuple(e.name for e in entries())[::12]
    campaign = run_campaign(Options("opinfo", ("R", "F"), only=names, runners=("create_graph", "vmap", "in_place")))
    assert not campaign.fails
    assert len(campaign.frame) > 200
