"""Which gaps there can be, for whoever wants to accept some: a word that names none is a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlmeta.errors import UsageError
from mlmeta.schema import ROWS, UNNAMED, WITH_PARTS
from mlmeta.schema.summary import Acceptance, is_among
from mlmeta.schema.words import closest

_NEVER = ("database", UNNAMED)
"""Damage is no gap, and what there was no room to name can be anything."""


def acceptance(words: Iterable[str], seen: Iterable[str] = ()) -> Acceptance:
    """What these words accept.

    Args:
        words: for kinds of things that may be missing.
        seen: kinds that are known to be missing, or to be there, and that nobody else may know of.

    Raises:
        UsageError: there is no such kind.
    """
    wanted = tuple(sorted(set(words)))
    if not wanted:
        return Acceptance()
    known = sorted({*_words(), *seen}.difference(_NEVER))
    for word in wanted:
        if is_among(word, _NEVER):
            raise UsageError(f"{word!r} can't be accepted: it says nothing of what is missing", hint=_near(word, known))
        if not is_among(word, known):
            raise UsageError(f"{word!r} is no kind of thing that can be missing", hint=_near(word, known))
    return Acceptance(wanted)


def _near(word: str, known: Iterable[str]) -> str:
    return f"--accept takes the kind that a message names; near ones: {closest(word, known)}"


def _words() -> Iterator[str]:
    from mlmeta.stores.api.unsupported import ASKED
    from mlmeta.stores.sql.known_tables import REVISIONS

    for kind in WITH_PARTS:
        yield from (kind.one, *kind.pieces)
    yield from (ROWS.many, "table", "workspaces", *ASKED)
    yield from (table.replace("_", " ") for _, tables in REVISIONS for table in tables.split(", ") if table)
