"""Tags that a person gives a snapshot: words to find it by, and to keep it for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlmeta.errors import UsageError

LONGEST_KEY = 250
LONGEST_VALUE = 5000
MOST = 100
_HINT = "such as --tag release=1.4"


def tags_of(words: Iterable[str]) -> dict[str, str]:
    """The tags that words such as ``release=1.4`` give.

    Raises:
        UsageError: a word is not KEY=VALUE, or two give a key different values.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not KEY=VALUE", hint=_HINT)
        if found.setdefault(key, value) != value:
            raise UsageError(
                f"the tag {key} has two values, {found[key]!r} and {value!r}", hint="leave one of them out"
            )
    return checked(found)


def checked(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as a summary can have them, in one order.

    Raises:
        UsageError: a key is empty or has an ``=``, or there is more than a summary shall hold.
    """
    if len(tags) > MOST:
        raise UsageError(f"{len(tags):,} tags are more than the {MOST} that a snapshot can have", hint="leave some out")
    for key, value in tags.items():
        if not key or "=" in key:
            raise UsageError(f"{key!r} is not the key of a tag", hint=_HINT)
        if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise UsageError(
                f"the tag {key[:40]!r} is too long",
                hint=f"a key has at most {LONGEST_KEY} characters, a value {LONGEST_VALUE:,}",
            )
    return dict(sorted(tags.items()))


def has_tag(tags: Mapping[str, str], wanted: str) -> bool:
    """Whether a snapshot has a tag: ``KEY`` with whatever value, or ``KEY=VALUE``."""
    key, equals, value = wanted.partition("=")
    return key in tags and (not equals or tags[key] == value)
