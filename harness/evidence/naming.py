"""Which rows of a check are known issues of PyTorch: by their operation, or by what carries into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..judgement.tangents_within import HELD_CONSTANT
from .known import load, match

if TYPE_CHECKING:
    from ..judgement.explained import JudgedPass
    from ..recorder.nodes import Node


def name_known(rows: Sequence[dict[str, Any]]) -> None:
    """Fill `known` of the rows that a known issue of PyTorch covers; their verdict stays."""
    issues = load()
    for r in rows:
        if r["verdict"] in ("mismatch", "raised", "inaccurate"):
            names = (str(r.get("culprit") or ""), str(r["program"]))
            mode = r["mode"] + "F" * (HELD_CONSTANT in (r.get("message") or ""))  # a tangent was taken inside
            given = names, mode, r["runner"], r.get("dtype", ""), r["verdict"], r.get("torch_value")
            issue = match(issues, *given, note=r.get("message") or "")
            if issue is not None:
                r["known"] = issue.reference


def name_explained(rows: Sequence[dict[str, Any]], judged: JudgedPass | None) -> None:
    """Fill `known` of the end-to-end gradients that are wrong by nothing but known issues.

    Such a gradient is right once the errors of the operations that are known to be wrong are taken away. What else is
    wrong on the way to it, known to nobody, is still in it then.
    """
    ends = [r for r in rows if r["program"] == "whole" and r["verdict"] == "mismatch" and r["runner"] == "autograd"]
    if judged is None or not ends:
        return
    issues = load()
    nodes: dict[str, list[Node]] = {}
    for v, node in judged.wrong:
        j = v.judgement
        given = (v.operation,), "R", "autograd", judged.dtype, j.verdict, j.torch_value
        issue = match(issues, *given, note=j.note or "") if node is not None else None
        if issue is not None and node is not None and node not in nodes.setdefault(issue.reference, []):
            nodes[issue.reference].append(node)
    if not nodes:
        return
    explained = judged.explained([n for those in nodes.values() for n in those])
    for reference, those in nodes.items():
        for name in judged.reached(those) if explained else ():
            for r in ends:
                if r["wrt"] == name and name in explained:
                    r["known"] = f"{r['known']}; {reference}" if r.get("known") else reference
