"""How many examples Hypothesis tries: a fifth, the same ones each time; with ``--hypothesis-profile=full`` all."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

_ALWAYS: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}  # machines are slow at times
settings.register_profile("full", max_examples=100, **_ALWAYS)
settings.register_profile("quick", max_examples=20, derandomize=True, **_ALWAYS)
settings.load_profile("quick")


def examples(number: int, **more: Any) -> settings:
    """So many in the full profile, where 100 are usual."""
    return settings(max_examples=max(2, number * settings.default.max_examples // 100), **more)
