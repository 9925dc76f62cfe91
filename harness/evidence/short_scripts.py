"""The proof of a known issue as a script of a few lines, to be read, pasted and run: it imports torch alone."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .proofs import NAMES, Proof, Square

SPECIAL = re.compile(r"(?<![\w.])(?:inf|nan)(?!\w)")  # as they are written in a list of numbers
COMPILED = ("compile", "compile_grad", "compile_jvp", "compile_vmap_grad")


def short_script(proof: Proof) -> str:
    """A script that asks torch what the proof asks and prints torch's number beside the right one.

    Of a proof with `raises` the last statement raises. Directions and cotangents of ones are spelt `torch.ones_like`.
    """
    asked = _Asking(proof)
    answer = asked.answer()
    body = [*asked.lines, f"answer = {answer}"]
    if proof.right:
        right = proof.right_value()
        body.append(f'print("torch:", answer.item(), "right:", {_number(right)})  # {proof.right}')
    else:
        body.append("print(answer)")
    text = "\n".join(body).replace("\ndef ", "\n\ndef ")
    used = [
        *(["import math"] if "math." in text else []),
        "import torch",
        *(["import torch.nn.functional as F"] if "F." in text else []),
        *([f"from math import {', '.join(named)}"] if (named := sorted(set(SPECIAL.findall(text)))) else []),
    ]
    return "\n".join([*used, "", text, ""]).replace("\n\n\n", "\n\n")


def _number(x: Any) -> str:
    """A number as Python writes it, infinities and NaN by their names."""
    return repr(float(x)) if math.isfinite(x) else {math.inf: "inf", -math.inf: "-inf"}.get(x, "math.nan")


def _bare_source(written: type) -> str:
    """The source of a class without docstrings and annotations, so that it needs no import but torch."""
    tree = ast.parse(inspect.getsource(written))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(tree).replace(":\n\n", ":\n") + "\n"


class _Asking:
    """Writes the statements that ask for the derivative; `lines` holds them."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.names = NAMES[: len(proof.inputs)]
        self.all = ", ".join(self.names)
        self.tuple = f"({self.all},)" if len(self.names) == 1 else f"({self.all})"
        self.lines = [_bare_source(Square)] if "Square" in proof.call else []
        self.lines += [f"{k} = {v}" for k, v in proof.define.items()]
        self.lines += [f"{n} = {self.tensor(v)}" for n, v in zip(self.names, proof.inputs, strict=True)]

    def tensor(self, value: Any) -> str:
        """Numbers as a tensor of the proof's dtype."""
        return f"torch.tensor({value!r}, dtype=torch.{self.proof.dtype})"

    def directions(self, name: str) -> str:
        """The directions t, s, … as a tuple: those of the proof, or ones."""
        given: Sequence[Any] = getattr(self.proof, name, ())
        if not given:
            ones = [f"torch.ones_like({n})" for n in self.names]
            return f"({ones[0]},)" if len(ones) == 1 else f"({', '.join(ones)})"
        self.lines.append(f"{name} = ({', '.join(map(self.tensor, given))}{',' if len(given) == 1 else ''})")
        return name

    def scalar(self, outputs: str) -> str:
        """The sum of an output against its cotangent."""
        if not self.proof.c:
            return f"{outputs}.sum()"
        if not any(line.startswith("c = ") for line in self.lines):
            self.lines.append(f"c = {self.tensor(self.proof.c[0])}")
        return f"({outputs} * c).sum()"

    def answer(self) -> str:
        """The expression of the entry that is asked for."""
        p, mode = self.proof, self.proof.mode
        sample = "compile_vmap_grad" in p.runner
        self.lines.append(f"def f({self.all}):\n    return {p.call}\n")
        if mode == "":
            return self.entry(f"f({self.all})")
        if sample:
            self.lines.append("gradients = torch.compile(torch.func.vmap(torch.func.grad(f)))(x)")
            return self.entry("gradients")
        if p.runner in ("compile", "compile_grad"):
            self.lines.append("f = torch.compile(f)")
        if p.runner == "save_on_cpu":
            return self.recomputed()
        if mode.strip("R") == "" and p.runner != "func":
            return self.by_autograd()
        return self.by_func()

    def recomputed(self) -> str:
        """Mode RF by torch.autograd alone, with saved tensors held elsewhere."""
        self.lines += [
            *[f"{n}.requires_grad_()" for n in self.names],
            "with torch.autograd.graph.save_on_cpu(), torch.autograd.forward_ad.dual_level():",
            f"    duals = map(torch.autograd.forward_ad.make_dual, {self.tuple}, {self.directions('t')})",
            "    slope = torch.autograd.forward_ad.unpack_dual(f(*duals)).tangent",
            f"    gradients = torch.autograd.grad({self.scalar('slope')}, {self.tuple})",
        ]
        return self.entry(f"gradients[{self.proof.answer}]")

    def by_autograd(self) -> str:
        """R, RR, RRR by torch.autograd.grad."""
        p = self.proof
        one = len(self.names) == 1
        self.lines += [f"{n}.requires_grad_()" for n in self.names]
        total = self.scalar(f"f({self.all})")
        for order, direction in zip(range(len(p.mode)), ("t", "s", "r"), strict=False):
            last = order == len(p.mode) - 1
            create = ", create_graph=True" if not last or p.runner == "create_graph" else ""
            unused = "" if one else ", materialize_grads=True"
            of = "x" if one else self.tuple
            self.lines.append(f"gradient = torch.autograd.grad({total}, {of}{create}{unused}){'[0]' if one else ''}")
            if not last:
                total = self.along("gradient", direction)
        return self.entry("gradient" if one else f"gradient[{p.answer}]")

    def along(self, gradient: str, direction: str) -> str:
        """The scalar product of a gradient with a direction."""
        given = bool(getattr(self.proof, direction, ()))
        if len(self.names) > 1:
            over = f"for g, v in zip({gradient}, {self.directions(direction)})" if given else f"for g in {gradient}"
            return f"sum({'(g * v)' if given else 'g'}.sum() {over})"
        return f"({gradient} * {self.directions(direction)}[0]).sum()" if given else f"{gradient}.sum()"

    def by_func(self) -> str:
        """Every other nesting, by torch.func, innermost first."""
        p = self.proof
        argnums = f", argnums={tuple(range(len(self.names)))}" if len(self.names) > 1 else ""
        name, per_input, left = "f", False, ["t", "s", "r"]
        places = {1: "first", 2: "second", 3: "third"}
        for order, letter in enumerate(reversed(p.mode), 1):
            new = places[order]
            if letter == "F":
                value = f"torch.func.jvp({name}, {self.tuple}, {self.directions(left.pop(0))})[1]"
            elif per_input:
                inner = self.along(f"{name}({self.all})", left.pop(0))
                value = f"torch.func.grad(lambda {self.all}: {inner}{argnums})({self.all})"
            else:
                inner = self.scalar(f"{name}({self.all})")
                value = f"torch.func.grad(lambda {self.all}: {inner}{argnums})({self.all})"
                per_input = True
            self.lines.append(f"def {new}({self.all}):\n    return {value}\n")
            name = new
        called = f"torch.compile({name})" if p.runner in COMPILED else name
        many = (per_input and len(self.names) > 1) or self.outputs() > 1
        return self.entry(f"{called}({self.all})" + (f"[{p.answer}]" if many else ""))

    def outputs(self) -> int:
        """How many tensors the call returns, where it returns a tuple."""
        return len(self.proof.function()(*self.proof.tensors(self.proof.inputs))) if self.proof.right else 1

    def entry(self, answer: str) -> str:
        """The entry of an answer, all of it where it has only one."""
        place = self.proof.entry
        if place:
            return f"{answer}[{', '.join(map(str, place))}]"
        value = self.shape_of_answer()
        return f"{answer}.flatten()[0]" if value > 1 else answer

    def shape_of_answer(self) -> int:
        """How many entries the answer has."""
        p = self.proof
        x = p.tensors(p.inputs)
        if p.raises:
            return 1
        if p.mode == "" or "R" not in p.mode:
            return int(np.prod(p.function()(*x)[p.answer].shape))
        return int(x[p.answer].numel())
