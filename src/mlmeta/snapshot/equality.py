"""When two values are the same to MLflow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mlmeta.schema import Record, canonical
from mlmeta.snapshot.reader import RunLines

_LARGEST = 1.7976931348623157e308  # what MLflow's database stores for an infinity


def same_lines(expected: RunLines, found: RunLines) -> bool:
    """Whether all histories are the same to the byte, which needs no look at single points."""
    return [line.line for line in expected.lines] == [line.line for line in found.lines]


def points(item: RunLines) -> dict[str, set[tuple[int, int, str]]]:
    """The points of each metric, values as MLflow keeps them."""
    found: dict[str, set[tuple[int, int, str]]] = {}
    for history in item.histories():
        points = found.setdefault(history.key, set())
        points.update((step, timestamp, repr(_stored(value))) for step, timestamp, value in canonical(history.points()))
    for key, latest in item.run.metrics.items():
        if key not in found and latest.step is not None and latest.timestamp is not None:
            found[key] = {(latest.step, latest.timestamp, repr(_stored(latest.value)))}
    return found


def _stored(value: float) -> float:
    """A value as MLflow's database keeps it."""
    if math.isinf(value):
        return math.copysign(_LARGEST, value)
    return value + 0.0 if value == 0 else value  # -0.0 and 0.0 are one value there


def same(expected: Any, found: Any) -> bool:
    """Whether two values are equal to MLflow's database: NaN is NaN, and an infinity its largest number."""
    return bool(_comparable(expected) == _comparable(found))


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return repr(_stored(value))
    if isinstance(value, Record):
        return {k: _comparable(v) for k, v in value}
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_comparable(v) for v in value]
    return value


class _Nothing:
    """Stands for a key that is not there; equal to no value, not even to the word."""

    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def parts(field: str, expected: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    """The keys of a map that differ; anything else as a whole."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        yield field, expected, found
        return
    for key in sorted({*expected, *found}):
        left, right = expected.get(key, _NOTHING), found.get(key, _NOTHING)
        if not same(left, right):
            yield f"{field}[{key}]", left, right


def short(value: Any) -> str:
    """A value for a message."""
    text = value.to_line().decode() if isinstance(value, Record) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
