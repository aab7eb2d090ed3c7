"""What there is, for somebody who asked for something else."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_NAMED = 10


def closest(wanted: str, names: Iterable[str]) -> str:
    """The names that are there, those that look most like the wanted one first; ten of them at most.

    Args:
        wanted: what was asked for.
        names: what there is.
    """

    def unlikeness(name: str) -> tuple[float, str]:
        return -SequenceMatcher(None, wanted.lower(), name.lower()).ratio(), name

    found = sorted(set(names), key=unlikeness)
    return ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "") if found else "none"
