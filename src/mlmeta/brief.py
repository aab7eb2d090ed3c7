"""Texts cut to a length: messages between words, values anywhere, and both so that it shows."""

from __future__ import annotations

import textwrap


def in_brief(text: str, most: int) -> str:
    """The first words of a message, on one line; ``…`` stands for what is left out.

    Args:
        text: of whatever length.
        most: characters.
    """
    flat = " ".join(text.split())
    found = textwrap.shorten(flat, most, placeholder=" …")
    return found if found != "…" else cut(flat, most)  # the first word alone is too long


def cut(value: str, most: int) -> str:
    """The beginning of a value, such as an id; ``…`` stands for the rest.

    Args:
        value: of whatever length.
        most: characters.
    """
    return value if len(value) <= most else f"{value[: most - 1]}…"
