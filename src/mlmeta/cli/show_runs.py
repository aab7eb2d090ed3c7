"""`mlmeta show --experiment` and `--run`: what there is to see of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlmeta.cli import text
from mlmeta.cli.text import Elastic, Pairs, Styled, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell
    from mlmeta.commands.show_runs import ModelOfRun, RunDetail, RunTable, VersionOfRun
    from mlmeta.schema import LatestMetric, Run

_NAME = "attributes.run_name"
_TIMES = ("attributes.start_time", "attributes.end_time")
_FIXED = ("run_id", "status", "start_time", "end_time")
_NAMED = 6
"""Further params and metrics that are named."""


def table(result: RunTable, *, verbose: bool) -> list[Block]:
    """Runs with chosen columns, and what other columns there are."""
    names = [column.removeprefix("attributes.") for column in result.columns]
    numeric = tuple(n for n, c in zip(names, result.columns, strict=True) if c.startswith("metrics."))
    most = text.shortest(result.run_ids)
    rows = [
        [Elastic(run_id, run_id[:most]), *(_cell(c, v, depth) for c, v in zip(result.columns, row, strict=True))]
        for run_id, depth, row in zip(result.run_ids, result.depths, result.rows, strict=True)
    ]
    return [
        Styled(f"{result.experiment.name}: {text.plural(result.total, 'run')}", "bold"),
        Table(("run_id", *names), rows, right=numeric, whole=_FIXED, spare=_spare(result.columns)),
        *text.more(result.total, len(result.rows)),
        *(Styled(line, "dim") for line in _further(result.further, None if verbose else _NAMED)),
    ]


def _cell(column: str, value: str | float | int | None, depth: int) -> Cell:
    indent = "  " * depth if column == _NAME else ""
    if value is None:
        return Styled(f"{indent}-", "dim")
    if column in _TIMES and isinstance(value, int):
        return text.when(value)
    return text.number(value) if isinstance(value, float) else f"{indent}{value}"


def _spare(columns: Sequence[str]) -> tuple[str, ...]:
    """Params and metrics, by turns from the last ones on; a metric goes after its param."""
    params = [name for name in columns if name.startswith("params.")]
    metrics = [name for name in columns if name.startswith("metrics.")]
    others = [name for name in columns if name.startswith("tags.")]
    ranks = {
        name: (place, kind) for kind, found in enumerate((metrics, params, others)) for place, name in enumerate(found)
    }
    return tuple(sorted(ranks, key=lambda name: ranks[name], reverse=True))


def _further(names: Sequence[str], most: int | None) -> Iterator[str]:
    for word in ("params", "metrics"):
        found = [name for name in names if name.startswith(f"{word}.")]
        if found:
            keys = [name.removeprefix(f"{word}.") for name in found[:most]]
            left = f" and {len(found) - len(keys):,} more" if len(found) > len(keys) else ""
            yield f"further {word}: {', '.join(keys)}{left} (--column {word}.KEY)"


def detail(result: RunDetail, **_: bool) -> list[Block]:
    """Everything of a run."""
    run = result.run
    metrics = {key: _metric(metric, result.points[key]) for key, metric in run.metrics.items()}
    inputs = {
        i.dataset.name: f"{i.dataset.digest}  {i.tags.get('mlflow.data.context', '')}" for i in run.dataset_inputs
    }
    parts = {
        "params": run.params,
        "metrics": metrics,
        "tags": run.tags,
        "datasets": inputs,
        "models made": {model.model_id: _model(model) for model in result.models_made},
        "models used": {model.model_id: _model(model) for model in result.models_used},
        "registered as": {f"{one.model} {one.version}": _registered(one) for one in result.versions},
    }
    facts = Pairs("", _facts(result), whole=True)
    return [facts, *(Pairs(title, pairs) for title, pairs in parts.items() if pairs)]


def _facts(result: RunDetail) -> dict[str, str]:
    run = result.run
    told = {
        "run id": run.run_id,
        "name": run.run_name or "-",
        "experiment": f"{result.experiment} ({run.experiment_id})",
        "status": f"{run.status}, {run.lifecycle_stage}",
        "user": run.user_id or "-",
        "started": text.moment(run.start_time),
        "ended": text.moment(run.end_time) + _taken(run),
        "artifacts": run.artifact_uri or "-",
    }
    if parent := run.tags.get("mlflow.parentRunId"):
        told["within"] = f"{result.parent} ({parent})".strip()
    if result.nested:
        told["nested"] = text.plural(result.nested, "run")
    return told


def _taken(run: Run) -> str:
    if run.start_time is None or run.end_time is None:
        return ""
    return f" (after {text.duration(run.end_time - run.start_time)})"


def _metric(latest: LatestMetric, points: int) -> str:
    step = "-" if latest.step is None else f"{latest.step:,}"
    return f"{text.number(latest.value)}  (step {step}, {text.plural(points, 'point')})"


def _model(model: ModelOfRun) -> str:
    step = "" if model.step is None else f"  (step {model.step:,})"
    return f"{model.name or '-'}{step}"


def _registered(version: VersionOfRun) -> str:
    stage = version.stage if version.stage not in (None, "None") else ""
    return ", ".join([stage] * bool(stage) + [f"@{alias}" for alias in version.aliases]) or "-"
