"""Foreign texts, made safe to show."""

from __future__ import annotations

import unicodedata

_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's general categories: controls, formats, lone surrogates, line and paragraph separators."""
_JOINERS = {"\u200c", "\u200d"}
"""Formats that Persian, Indic scripts and emoji are written with; they move nothing."""


def visible(text: str) -> str:
    r"""The text in one line; what a terminal would obey as Python writes it: ``\x1b``, ``\u202e``, ``\n``.

    Anybody who may name a run chooses what stands in a table on the operator's screen: escape sequences, carriage
    returns, bidirectional overrides, newlines that fake a row.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if unicodedata.category(character) not in _OBEYED or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
