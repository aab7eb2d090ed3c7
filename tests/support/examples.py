"""How many examples are tried: a few, the same ones each time; in `make test-all` (profile ``full``) all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")
_ALWAYS: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}  # machines are slow at times
settings.register_profile("full", max_examples=100, **_ALWAYS)
settings.register_profile("quick", max_examples=20, derandomize=True, **_ALWAYS)
settings.load_profile("quick")


def examples(number: int, **more: Any) -> settings:
    """So many in the full profile, where 100 are usual."""
    return settings(max_examples=max(2, number * settings.default.max_examples // 100), **more)


def some(values: Iterable[T], few: int) -> list[T]:
    """All of a sweep (a restore stopped at each write, seeds) in the full profile, else a few: first, last, between."""
    found = list(values)
    if settings.default.max_examples >= 100 or few >= len(found):
        return found
    step = (len(found) - 1) / max(few - 1, 1)
    return [found[round(step * number)] for number in range(few)]
