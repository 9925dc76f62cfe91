"""What the pages of the course are made from: plain data about lessons and pitfalls that have already been run."""

from __future__ import annotations

from dataclasses import dataclass

from .figures import Plot

__all__ = ["Code", "Course", "Exhibit", "Family", "Grid", "LessonPage", "PitfallPage"]


@dataclass(frozen=True)
class Code:
    """Python source, with a sentence about it and the place where it stands; an empty text is shown as nothing.

    `is_change`: each line begins with `- ` (it goes), `+ ` (it comes) or two spaces (it stays).
    """

    text: str
    caption: str = ""
    place: str = ""
    is_change: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of texts under its heads, as many cells in each row as there are heads; the first cell names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Exhibit:
    """Something to look at: plain text, a drawing (an <svg> element, put in as it is), or a plot."""

    caption: str
    text: str | None = None
    drawing: str | None = None
    plot: Plot | None = None


@dataclass(frozen=True)
class LessonPage:
    """One lesson after its run.

    `others` is the same computation on the other engines, by the engine's name; `notes` say what did not come true.
    The exercise accepts a number within `within` of `answer`, relative to `answer` (to 1, where it is 0).
    """

    id: str
    title: str
    place: str
    claim: str
    story: tuple[str, ...]
    code: Code
    others: tuple[tuple[str, Code], ...]
    numbers: Grid
    notes: tuple[str, ...]
    exhibits: tuple[Exhibit, ...]
    question: str
    answer: float
    within: float
    explanation: str
    answers: Grid
    source: str
    pitfalls: tuple[str, ...] = ()


@dataclass(frozen=True)
class PitfallPage:
    """One pitfall after its run.

    `stopped` is the text of the error where PyTorch stops; `given` is then None. `compared` holds the right numbers,
    beside PyTorch's where there are any. `note` says that it no longer shows as told; None while it does.
    """

    id: str
    title: str
    family: str
    symptom: str
    setting: Code
    faulty: Code
    stopped: str | None
    given: Grid | None
    warnings: tuple[str, ...]
    truth: Code
    witness: str
    compared: Grid
    repair: Code
    repaired: Grid
    note: str | None
    cause: str
    fix: str
    shapes: str
    source: str
    seen_on: str


@dataclass(frozen=True)
class Family:
    """A family of pitfalls, with what they have in common."""

    id: str
    title: str
    introduction: str


@dataclass(frozen=True)
class Course:
    """The whole site: lessons in their order, families and pitfalls in theirs; `torch` is the version of PyTorch."""

    torch: str
    lessons: tuple[LessonPage, ...]
    families: tuple[Family, ...]
    pitfalls: tuple[PitfallPage, ...]
