"""What `mlmeta show` shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.shown import MetricOverRuns, MetricOverSteps, ModelList, Overview, RunDetail, RunTable
from mlmeta.schema import LatestMetric

_BAR = 40
_MOST_ROWS = 60
_LONG = 200


def overview(result: Overview, *, verbose: bool) -> RenderableType:
    """Where it is from, and its experiments."""
    server = f" {result.mlflow_server_version}" if result.mlflow_server_version else ""
    head = [
        Text.assemble("Snapshot ", (result.timestamp, "bold"), f" of {result.source or 'an unknown source'}"),
        Text(f"{text.counts(result.stats)}; {text.size(result.size)}"),
        Text(f"taken {result.date} from {result.source_kind or 'MLflow'}{server}", style="dim"),
    ]
    table = text.table("ID", "EXPERIMENT", "STAGE", "RUNS", "DELETED", "LATEST RUN (UTC)", right=("RUNS", "DELETED"))
    for row in result.experiments:
        e = row.experiment
        counts = (f"{row.runs:,}", f"{row.deleted_runs:,}" if row.deleted_runs else "-")
        table.add_row(e.experiment_id, Text(e.name), e.lifecycle_stage, *counts, text.moment(row.latest))
    skipped = [Text(f"not saved: {s.kind} {s.id}: {s.reason}", style="yellow") for s in result.skipped]
    return Group(*head, Text(), table, *skipped)


def run_table(result: RunTable, *, verbose: bool) -> RenderableType:
    """Runs with chosen columns."""
    names = [column.removeprefix("attributes.") for column in result.columns]
    numeric = tuple(n for n, c in zip(names, result.columns, strict=True) if c.startswith("metrics."))
    table = text.table("run_id", *names, right=numeric)
    for run_id, row in zip(result.run_ids, result.rows, strict=True):
        cells = (_cell(c, v) for c, v in zip(result.columns, row, strict=True))
        table.add_row(run_id if verbose else run_id[:8], *cells)
    more = result.total - len(result.rows)
    foot = [Text(f"… and {more:,} more: --limit shows them", style="dim")] if more else []
    return Group(Text(f"{result.experiment.name}: {text.plural(result.total, 'run')}", style="bold"), table, *foot)


def _cell(column: str, value: str | float | int | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    if column in {"attributes.start_time", "attributes.end_time"} and isinstance(value, int):
        return Text(text.moment(value))
    return Text(text.number(value) if isinstance(value, float) else str(value))


def run_detail(result: RunDetail, *, verbose: bool) -> RenderableType:
    """Everything of a run."""
    run = result.run
    rows = {
        "run id": run.run_id,
        "name": run.run_name or "-",
        "experiment": f"{result.experiment} ({run.experiment_id})",
        "status": f"{run.status}, {run.lifecycle_stage}",
        "user": run.user_id or "-",
        "started": text.moment(run.start_time),
        "ended": text.moment(run.end_time),
        "artifacts": run.artifact_uri or "-",
    }
    metrics = {key: _metric(metric, result.points[key]) for key, metric in run.metrics.items()}
    inputs = {
        i.dataset.name: f"{i.dataset.digest}  {i.tags.get('mlflow.data.context', '')}" for i in run.dataset_inputs
    }
    parts = [_pairs("", rows), _pairs("params", run.params), _pairs("metrics", metrics)]
    parts += [_pairs("tags", run.tags if verbose else _shortened(run.tags)), _pairs("datasets", inputs)]
    return Group(*(part for part in parts if part is not None))


def _metric(latest: LatestMetric, points: int) -> str:
    step = "-" if latest.step is None else latest.step
    return f"{text.number(latest.value)}  (step {step}, {text.plural(points, 'point')})"


def _shortened(tags: dict[str, str]) -> dict[str, str]:
    return {k: v if len(v) <= _LONG else f"{v[:_LONG]}… ({len(v):,} characters: --verbose)" for k, v in tags.items()}


def _pairs(title: str, pairs: dict[str, str]) -> Table | None:
    if not pairs:
        return None
    grid = Table.grid(padding=(0, 2))
    if title:
        grid.title, grid.title_justify, grid.title_style = f"\n{title}", "left", "bold"
    for key, value in pairs.items():
        grid.add_row(Text(key, style="cyan"), Text(value))
    return grid


def metric_over_runs(result: MetricOverRuns, *, verbose: bool) -> RenderableType:
    """A bar for each run, oldest first."""
    table = text.table("STARTED (UTC)", "RUN", result.key, "", right=(result.key,))
    shown = list(zip(result.runs, result.values, strict=True))[-_MOST_ROWS:]
    for (run, value), bar in zip(shown, _bars([v for _, v in shown]), strict=True):
        table.add_row(text.moment(run.start_time), Text(run.run_name or run.run_id[:8]), text.number(value), bar)
    left_out = len(result.runs) - len(shown)
    foot = [Text(f"the latest {len(shown)}; {left_out:,} older ones: --json", style="dim")] if left_out else []
    return Group(Text(f"{result.key} over the runs of {result.experiment}", style="bold"), table, *foot)


def metric_over_steps(result: MetricOverSteps, *, verbose: bool) -> RenderableType:
    """A bar for each point; of a long history for every n-th, and the last."""
    table = text.table("STEP", "TIME (UTC)", result.key, "", right=("STEP", result.key))
    chosen = list(_sampled(len(result.value)))
    bars = _bars([result.value[i] for i in chosen])
    for i, bar in zip(chosen, bars, strict=True):
        step = result.step[i]
        table.add_row(
            "-" if step is None else str(step), text.moment(result.timestamp_ms[i]), text.number(result.value[i]), bar
        )
    count = len(result.value)
    foot = [Text(f"{len(chosen)} of {count:,} points; all: --json", style="dim")] if len(chosen) < count else []
    return Group(Text(f"{result.key} of run {result.run_id}", style="bold"), table, *foot)


def _sampled(count: int) -> Iterator[int]:
    every = max(1, math.ceil(count / _MOST_ROWS))
    yield from range(0, count, every)
    if (count - 1) % every:
        yield count - 1


def _bars(values: Sequence[float]) -> list[RenderableType]:
    """Bars from the smallest to the largest value; from 0 where all are on one side of it and it is near."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if 0 <= low <= high / 2:
        low = 0.0
    span = high / 2 - low / 2  # halves: from -1.8e308 to 1.8e308 is more than a float holds
    return [
        Bar(1, 0, max((v / 2 - low / 2) / span if span else 1, 0.01), width=_BAR) if math.isfinite(v) else Text("")
        for v in values
    ]


def models(result: ModelList, *, verbose: bool) -> RenderableType:
    """A row for each version."""
    if not result.models:
        return Text("No registered models.")
    table = text.table(
        "MODEL", "VERSION", "STAGE", "ALIASES", "STATUS", "RUN", "CREATED (UTC)", "SOURCE", right=("VERSION",)
    )
    for model in result.models:
        if not model.versions:
            table.add_row(Text(model.name), "-", "-", "-", "-", "-", text.moment(model.creation_timestamp), "-")
        for version in model.versions:
            aliases = ", ".join(alias for alias, number in model.aliases.items() if number == version.version)
            table.add_row(
                Text(model.name),
                str(version.version),
                version.current_stage or "-",
                Text(aliases or "-"),
                version.status or "-",
                (version.run_id or "-")[: None if verbose else 8],
                text.moment(version.creation_timestamp),
                Text(version.source or "-"),
            )
    return table
