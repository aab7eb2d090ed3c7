"""`mlmeta show --experiment`, `--run` and `--metric`: what there is to see of runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlmeta.cli import text
from mlmeta.cli.text import Curve, Elastic, Pairs, Styled, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell, Line
    from mlmeta.commands.show_runs import MetricOverRuns, MetricOverSteps, ModelOfRun, RunDetail, RunTable, VersionOfRun
    from mlmeta.schema import LatestMetric, Run

_NAME = "attributes.run_name"
_TIMES = ("attributes.start_time", "attributes.end_time")
_FIXED = ("run_id", "status", "start_time", "end_time")
_NAMED = 6
"""Further params and metrics that are named."""


def table(result: RunTable, *, verbose: bool, **_: object) -> list[Block]:
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
        Table(("run_id", *names), rows, right=numeric, whole=_FIXED, spare=_spare(result.columns, result.sorted_by)),
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


def _spare(columns: Sequence[str], sorted_by: str) -> tuple[str, ...]:
    """Params and metrics, by turns from the last ones on; a metric goes after its param.

    Args:
        columns: all of them.
        sorted_by: the one that stays.
    """
    params = [name for name in columns if name.startswith("params.")]
    metrics = [name for name in columns if name.startswith("metrics.")]
    others = [name for name in columns if name.startswith("tags.")]
    ranks = {
        name: (place, kind) for kind, found in enumerate((metrics, params, others)) for place, name in enumerate(found)
    }
    return tuple(name for name in sorted(ranks, key=lambda name: ranks[name], reverse=True) if name != sorted_by)


def _further(names: Sequence[str], most: int | None) -> Iterator[str]:
    for word in ("params", "metrics"):
        found = [name for name in names if name.startswith(f"{word}.")]
        if found:
            keys = [name.removeprefix(f"{word}.") for name in found[:most]]
            left = f" and {len(found) - len(keys):,} more" if len(found) > len(keys) else ""
            all_named = "; --verbose names all" if left else ""
            yield f"further {word}: {', '.join(keys)}{left} (`--column {word}.KEY`{all_named})"


def detail(result: RunDetail, **_: object) -> list[Block]:
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


Mark = tuple[Styled, str]
"""A sign that stands in a curve, and what it says."""

_FEW = 20
"""So many points are listed below their curve."""
_BEST, _LAST = Styled("◆", "bold green"), Styled("●", "bold yellow")
_LOWER = {
    *(
        "loss",
        "error",
        "err",
        "rmse",
        "mse",
        "mae",
        "mape",
        "perplexity",
        "ppl",
        "nll",
        "wer",
        "cer",
        "fid",
        "deviance",
    ),
    *("latency", "time", "duration", "seconds", "ms", "cost", "brier", "regret", "logloss"),
}
"""Words in the names of metrics that are best where they are lowest."""


def over_runs(result: MetricOverRuns, *, limit: int, **_: object) -> list[Block]:
    """The curve, oldest run first, and a row for each run; of many, for the newest."""
    count, marks = len(result.runs), _marks(result.key, result.values)
    first, most = max(count - limit, 0), text.shortest([run.run_id for run in result.runs])
    rows = [_run(result.runs[i], result.values[i], marks.get(i), most) for i in range(first, count)]
    blocks: list[Block] = [Styled(f"{result.key} over the runs of {result.experiment}", "bold")]
    if count > 1:
        ends = (text.moment(result.runs[0].start_time), text.moment(result.runs[-1].start_time))
        blocks.append(_curve(range(count), result.values, marks, *ends))
        blocks += [_marked(result.runs[i], result.values[i], mark) for i, mark in marks.items() if i < first]
        blocks.append("")
    blocks.append(
        Table(
            ("STARTED (UTC)", "run_id", "run_name", result.key, ""),
            rows,
            right=(result.key,),
            whole=("STARTED (UTC)", "run_id", ""),
        )
    )
    if first:
        blocks.append(Styled(f"… and {text.plural(first, 'older run')}: --limit shows more", "dim"))
    return blocks


def _marked(run: Run, value: float, mark: Mark) -> Line:
    """A run that is marked in the curve, and has no row."""
    sign, word = mark
    name = f" ({run.run_name})" if run.run_name else ""
    return [sign, f" {word}: {text.number(value)} of run {run.run_id}{name}, {text.moment(run.start_time)}"]


def _run(run: Run, value: float, mark: Mark | None, most: int) -> tuple[Cell, ...]:
    told = Styled(f"{mark[0].text} {mark[1]}", mark[0].style) if mark else ""
    known_as = Elastic(run.run_id, run.run_id[:most])
    return text.when(run.start_time), known_as, run.run_name or "-", text.number(value), told


def _curve(x: Sequence[float], y: Sequence[float], marks: Mapping[int, Mark], first: str, last: str) -> Curve:
    return Curve(x, y, {i: sign for i, (sign, _) in marks.items()}, first, last)


def over_steps(result: MetricOverSteps, *, verbose: bool, **_: object) -> list[Block]:
    """The curve, its best and its last value; below, the points, if they are few."""
    count, marks = len(result.value), _marks(result.key, result.value)
    has_steps = len(set(result.step)) == count or len({*result.step}) > 1
    x = [float(step or 0) for step in result.step] if has_steps else list(map(float, range(count)))
    ends = (_step(result.step[0]), _step(result.step[-1])) if has_steps else ("1", f"{count:,}")
    blocks: list[Block] = [Styled(f"{result.key} of run {result.run_id}", "bold")]
    if count > 1:
        blocks.append(_curve(x, result.value, marks, *ends))
    for i, (mark, word) in marks.items():
        where = f" at step {_step(result.step[i])}, {text.moment(result.timestamp_ms[i])}"
        blocks.append([mark, f" {word}: {text.number(result.value[i])}{where}"])
    odd = sum(not math.isfinite(value) for value in result.value)
    gaps = f", {odd:,} of them not finite, which the curve leaves out" if odd else ""
    blocks.append(Styled(f"{text.plural(count, 'point')}{gaps}", "dim"))
    if verbose or count <= _FEW:
        rows = [
            (_step(step), text.when(moment).full, text.number(value))
            for step, moment, value in zip(result.step, result.timestamp_ms, result.value, strict=True)
        ]
        blocks += ["", Table(("STEP", "TIME (UTC)", result.key), rows, right=("STEP", result.key))]
    return blocks


def _step(step: int | None) -> str:
    return "-" if step is None else f"{step:,}"


def _marks(key: str, values: Sequence[float]) -> dict[int, Mark]:
    """The best and the last value: where they are, how they are marked, and in words."""
    last = len(values) - 1
    finite = [i for i, value in enumerate(values) if math.isfinite(value)]
    if len({values[i] for i in finite}) < 2:
        return {last: (_LAST, "last")}
    is_lower = bool(_LOWER & set(re.split(r"[^a-z]+", key.lower())))
    best = min(finite, key=values.__getitem__) if is_lower else max(finite, key=values.__getitem__)
    word = f"best ({'lowest' if is_lower else 'highest'})"
    if best == last:
        return {last: (_BEST, f"last, and {word}")}
    return {best: (_BEST, word), last: (_LAST, "last")}
