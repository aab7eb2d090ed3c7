"""Columns of runs, in MLflow's names: ``attributes.…``, ``params.…``, ``metrics.…``, ``tags.…``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from mlmeta.errors import UsageError
from mlmeta.schema import Run

_COLUMN = re.compile(r"(params|metrics|tags|attributes)\.(.+)")
_SORT = re.compile(r"(\S.*?)(?:\s+(asc|desc))?", re.IGNORECASE)
_SHOWN_METRICS = 3
_SHOWN_PARAMS = 3


def column(name: str) -> str:
    """A column's full name; a bare word is an attribute.

    Raises:
        UsageError: it is neither.
    """
    full = name if _COLUMN.fullmatch(name) else f"attributes.{name}"
    if full.startswith("attributes.") and full.removeprefix("attributes.") not in _ATTRIBUTES:
        raise UsageError(
            f"there is no column {name!r}",
            hint=f"write params.X, metrics.X, tags.X, or one of {', '.join(_ATTRIBUTES)}",
        )
    return full


_ATTRIBUTES = ("run_id", "run_name", "status", "user_id", "start_time", "end_time", "lifecycle_stage", "artifact_uri")


def value(run: Run, name: str) -> str | float | int | None:
    """A run's value in a column (its full name); None where it has none."""
    kind, key = name.split(".", 1)
    if kind == "metrics":
        metric = run.metrics.get(key)
        return metric.value if metric else None
    if kind == "attributes":
        attribute: str | int | None = getattr(run, key)
        return attribute
    return (run.params if kind == "params" else run.tags).get(key)


def usual(runs: Sequence[Run]) -> tuple[str, ...]:
    """A few columns that most of the runs have."""
    params = Counter(key for run in runs for key in run.params)
    metrics = Counter(key for run in runs for key in run.metrics)
    return (
        *("attributes.run_name", "attributes.status", "attributes.start_time"),
        *(f"params.{key}" for key, _ in params.most_common(_SHOWN_PARAMS)),
        *(f"metrics.{key}" for key, _ in metrics.most_common(_SHOWN_METRICS)),
    )


def in_order(runs: list[Run], sort: str) -> list[Run]:
    """Runs by a column (``metrics.loss DESC``); those without a value last.

    Raises:
        UsageError: there is no such column.
    """
    if not sort:
        return runs
    match = _SORT.fullmatch(sort.strip())
    name = column(match[1] if match else sort)
    descending = bool(match and match[2] and match[2].lower() == "desc")
    having: Iterator[Run] = (run for run in runs if _is_value(value(run, name)))
    without = [run for run in runs if not _is_value(value(run, name))]
    return [*sorted(having, key=lambda run: value(run, name), reverse=descending), *without]  # type: ignore[arg-type,return-value]


def _is_value(found: object) -> bool:
    return found is not None and found == found  # noqa: PLR0124 - NaN is no value to sort by
