"""Gaps that a person knows and accepts, by the words for what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

_BY_TABLE = {"table", "row", "rows"}
"""Kinds whose id is the name of a table, which is a word for what is missing as well."""


def forms(word: str) -> frozenset[str]:
    """A word as others may write it: in the singular or plural, with blanks, dashes or underscores."""
    plain = " ".join(word.casefold().replace("_", " ").replace("-", " ").split())
    several = f"{plain[:-1]}ies" if plain.endswith("y") else f"{plain}s"
    return frozenset({plain, several, f"{plain}es"})


class Gap(Protocol):
    """Something that is missing: see `Skipped`."""

    @property
    def kind(self) -> str:
        """Of what is missing."""

    @property
    def id(self) -> str:
        """Of it."""


G = TypeVar("G", bound=Gap)


@dataclass(frozen=True)
class Acceptance:
    """What is accepted.

    Args:
        words: for kinds of things that may be missing, such as ``webhooks``; none: nothing may.
    """

    words: tuple[str, ...] = ()

    @cached_property
    def _forms(self) -> dict[str, str]:
        return {form: word for word in self.words for form in forms(word)}

    def word_for(self, kind: str, identifier: str = "") -> str:
        """The word that accepts a gap; empty: none does.

        Args:
            kind: of what is missing, as a `Skipped` or a refusal names it.
            identifier: its id.
        """
        names = (kind, identifier.removeprefix("of ")) if kind in _BY_TABLE else (kind,)
        return next((self._forms[form] for name in names for form in forms(name) if form in self._forms), "")

    def gaps(self, found: Iterable[G]) -> tuple[G, ...]:
        """Those that are not accepted."""
        return tuple(one for one in found if not self.covers(one.kind, one.id))

    def used(self, found: Iterable[Gap]) -> tuple[str, ...]:
        """The words that some of these need to be accepted."""
        return tuple(sorted({self.word_for(one.kind, one.id) for one in found}.difference({""})))

    def covers(self, kind: str, identifier: str = "") -> bool:
        """Whether a gap is accepted."""
        return bool(self._forms) and bool(self.word_for(kind, identifier))


def is_among(word: str, known: Iterable[str]) -> bool:
    """Whether a word, in whatever form, is one of some."""
    wanted = forms(word)
    return any(not wanted.isdisjoint(forms(one)) for one in known)
