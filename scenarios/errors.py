"""What can go wrong with the catalogue itself: an unknown pitfall or lesson, an essay that is not complete."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["EssayError", "UnknownScenario"]


class EssayError(ValueError):
    """A pitfall's module does not keep to the form: a heading is missing, an id occurs twice, a file is not listed."""


class UnknownScenario(KeyError):
    """No pitfall or lesson has this id; `matches` are the ids that come near, best first."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        known = tuple(known)
        # A learner remembers a word, not the whole id: ids that contain it count as near, beside misspellings.
        word = wanted.lower().replace("_", "-").strip()
        containing = [name for name in known if word and word in name]
        similar = get_close_matches(word, known, n=3, cutoff=0.5)
        self.wanted = wanted
        self.matches = tuple(dict.fromkeys([*containing, *similar]))[:5]
        hint = f"near matches: {', '.join(self.matches)}" if self.matches else "none comes near"
        self.message = (
            f"learn: id={wanted!r} is unknown; {len(known)} ids are known, {hint}. "
            "`gradwitness learn` without an id lists them all."
        )
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message  # KeyError would print the repr, with quotes around the sentence
