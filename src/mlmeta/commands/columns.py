"""Columns of runs, in MLflow's names: ``attributes.…``, ``params.…``, ``metrics.…``, ``tags.…``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mlmeta.commands.closest import closest
from mlmeta.errors import UsageError
from mlmeta.schema import Run

_COLUMN = re.compile(r"(params|metrics|tags|attributes)\.(.+)")
_SORT = re.compile(r"(\S.*?)(?:\s+(asc|desc))?", re.IGNORECASE)
_SHOWN_METRICS = 3
_SHOWN_PARAMS = 3


def column(name: str, runs: Sequence[Run]) -> str:
    """A column's full name; a bare word is an attribute.

    Args:
        name: as somebody wrote it.
        runs: whose column it is; where there are none, any will do.

    Raises:
        UsageError: no run has it.
    """
    full = name if _COLUMN.fullmatch(name) else f"attributes.{name}"
    kind, key = full.split(".", 1)
    is_there = key in _ATTRIBUTES if kind == "attributes" else not runs or any(key in _map(run, kind) for run in runs)
    if not is_there:
        raise UsageError(f"no run has a column {name!r}", hint=f"there are: {closest(name, _all(runs))}")
    return full


def _map(run: Run, kind: str) -> Mapping[str, object]:
    found: dict[str, Mapping[str, object]] = {"params": run.params, "metrics": run.metrics, "tags": run.tags}
    return found[kind]


def _all(runs: Sequence[Run]) -> Iterator[str]:
    yield from _ATTRIBUTES
    for kind in ("params", "metrics", "tags"):
        yield from {f"{kind}.{key}" for run in runs for key in _map(run, kind)}


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
        UsageError: no run has such a column.
    """
    if not sort:
        return runs
    match = _SORT.fullmatch(sort.strip())
    name = column(match[1] if match else sort, runs)
    descending = bool(match and match[2] and match[2].lower() == "desc")
    having: Iterator[Run] = (run for run in runs if _is_value(value(run, name)))
    without = [run for run in runs if not _is_value(value(run, name))]
    return [*sorted(having, key=lambda run: value(run, name), reverse=descending), *without]  # type: ignore[arg-type,return-value]


def _is_value(found: object) -> bool:
    return found is not None and found == found  # noqa: PLR0124 - NaN is not a value to sort by
