"""Texts are cut between words, values anywhere, and both so that it shows."""

from __future__ import annotations

import pytest

from mlmeta.redaction import cut, in_brief


@pytest.mark.parametrize(
    ("text", "most", "found"),
    [
        ("short", 10, "short"),
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two …"),
        ("one\n  two\tthree", 20, "one two three"),
        ("a" * 30, 10, "a" * 9 + "…"),
        ("", 10, ""),
    ],
)
def test_messages(text: str, most: int, found: str) -> None:
    assert in_brief(text, most) == found
    assert len(found) <= most


def test_values() -> None:
    assert cut("0123456789", 10) == "0123456789"
    assert cut("0123456789a", 10) == "012345678…"
