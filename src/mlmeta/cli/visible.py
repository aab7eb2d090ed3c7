r"""Makes text from outside safe to show.

Anybody who may name a run chooses what stands in a table on the operator's screen. Characters that a terminal obeys
instead of showing (escape sequences, carriage returns, bidirectional overrides, newlines that fake a row) are shown
as Python writes them: ``\x1b``, ``\u202e``, ``\n``.
"""

from __future__ import annotations

import unicodedata
from typing import Any, TypeVar, cast

_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's general categories: controls, formats, lone surrogates, line and paragraph separators."""
_JOINERS = {"\u200c", "\u200d"}
"""Formats that Persian, Indic scripts and emoji are written with; they move nothing."""

T = TypeVar("T")


def visible(text: str) -> str:
    """The text in one line, each character that a terminal would obey as an escape."""
    if text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if unicodedata.category(character) not in _OBEYED or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def all_visible(value: T) -> T:
    """A result with every text in it made visible, names of keys included; itself where there is nothing to do."""
    return cast("T", _all_visible(value))


def _all_visible(value: Any) -> Any:
    if type(value) is str:  # not an Enum, whose words are ours
        return visible(value)
    from pydantic import BaseModel  # not at the top: `--help` does without

    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: new for name, old in fields.items() if (new := _all_visible(old)) is not old}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        return {_all_visible(key): _all_visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_all_visible(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    return value
