"""`mlmeta show --metric`: a metric over the runs of an experiment, or over the steps of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlmeta.cli import text
from mlmeta.cli.text import Curve, Elastic, Styled, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell
    from mlmeta.commands.show_runs import MetricOverRuns, MetricOverSteps
    from mlmeta.schema import Run

Mark = tuple[Styled, str]
"""A sign that stands in a curve, and what it says."""

_MOST_ROWS = 60
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


def over_runs(result: MetricOverRuns, **_: bool) -> list[Block]:
    """The curve, oldest run first, and a row for each run; of many, for the newest."""
    count, marks = len(result.runs), _marks(result.key, result.values)
    first, most = max(count - _MOST_ROWS, 0), text.shortest([run.run_id for run in result.runs])
    rows = [_run(result.runs[i], result.values[i], marks.get(i), most) for i in range(first, count)]
    blocks: list[Block] = [Styled(f"{result.key} over the runs of {result.experiment}", "bold")]
    if count > 1:
        ends = (text.moment(result.runs[0].start_time), text.moment(result.runs[-1].start_time))
        blocks += [_curve(range(count), result.values, marks, *ends), ""]
    blocks.append(
        Table(
            ("STARTED (UTC)", "run_id", "run_name", result.key, ""),
            rows,
            right=(result.key,),
            whole=("STARTED (UTC)", "run_id", ""),
        )
    )
    if first:
        blocks.append(Styled(f"the latest {count - first}; {first:,} older ones: --json", "dim"))
    return blocks


def _run(run: Run, value: float, mark: Mark | None, most: int) -> tuple[Cell, ...]:
    told = Styled(f"{mark[0].text} {mark[1]}", mark[0].style) if mark else ""
    known_as = Elastic(run.run_id, run.run_id[:most])
    return text.when(run.start_time), known_as, run.run_name or "-", text.number(value), told


def _curve(x: Sequence[float], y: Sequence[float], marks: Mapping[int, Mark], first: str, last: str) -> Curve:
    return Curve(x, y, {i: sign for i, (sign, _) in marks.items()}, first, last)


def over_steps(result: MetricOverSteps, *, verbose: bool) -> list[Block]:
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
            (_step(step), text.moment(moment), text.number(value))
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
