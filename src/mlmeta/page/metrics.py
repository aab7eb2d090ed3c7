"""Metrics on the page: what a name tells, and histories as curves with so few points that the page stays small."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from mlmeta.page.model import Curve, CurveData, ExperimentPage, Goal
from mlmeta.schema import METRICS, HistoryLine, MetricHistory
from mlmeta.snapshot.by_kind import ByKind
from mlmeta.snapshot.records import taken_apart


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LESS = _set(
    "loss losses err error errors mse rmse rmsle mae mape smape wape mad rss sse nll ce bce ece mce ppl perplexity "
    "entropy crossentropy logloss hinge kl divergence deviance brier wer cer ter mer eer fid kid lpips distance time "
    "seconds secs ms duration latency delay cost costs fpr fnr fdr far frr regret aic bic residual residuals memory "
    "mem size violations failures failed toxicity hallucination drift gap penalty"
)
_LESS_WITHIN = ("loss", "error", "entropy", "perplex", "latency", "rmse", "duration")
_MORE_WITHIN = ("accuracy", "f1", "score", "reward", "precision", "recall", "auc", "success")
_QUALITY = _set(
    "acc accuracy auc auroc auprc roc f1 f2 fbeta precision recall score r2 map ndcg mrr bleu rouge meteor iou miou "
    "dice kappa mcc reward return hits psnr ssim success sharpe"
)
_HELD_OUT = _set("val valid validation test testing eval evaluation holdout heldout dev cv oof")
_BESIDE = _set(
    "epoch epochs step steps iter iteration iterations batch batches lr learning rate grad norm time timestamp seconds "
    "secs ms duration latency throughput memory mem gpu cpu ram disk network system count n num samples tokens size "
    "params bytes mb gb percentage utilization power"
)


def words_of(key: str) -> list[str]:
    """The words in the name of a metric, in lower case: ``valLoss_RMSE/2`` has val, loss, rmse and 2."""
    return [word.lower() for word in _WORD.findall(key)]


def goal_of(key: str) -> Goal:
    """What is better, as far as the name tells; more, where it does not."""
    words = words_of(key)
    plain = key.lower()
    if any(part in plain for part in _MORE_WITHIN) and not any(part in plain for part in _LESS_WITHIN):
        return "max"
    return "min" if _LESS.intersection(words) or any(part in plain for part in _LESS_WITHIN) else "max"


def in_order(coverage: Iterable[tuple[str, float]]) -> list[str]:
    """Metrics, the one that tells most of an experiment first.

    Args:
        coverage: of each metric, the share of the runs that have it.
    """

    def order(item: tuple[str, float]) -> tuple[bool, int, bool, bool, str]:
        key, share = item
        words = set(words_of(key))
        is_known = bool(words & (_QUALITY | _LESS - _BESIDE))
        return (bool(words & _BESIDE) and not is_known, -round(share * 5), not words & _HELD_OUT, not is_known, key)

    return [key for key, _ in sorted(coverage, key=order)]


MOST_POINTS = 200
"""Of a curve: a chart is not much wider."""
FEWEST_POINTS = 24
"""Of a curve that is thinned out: before it has fewer, others are left out."""
BYTES_A_POINT = 5.0
"""Of the page, packed: measured."""
_LEVELS = 1000
"""Different heights that a chart shows."""

Key = tuple[str, str]
"""A run's id and a metric."""


def lttb(steps: Sequence[float], values: Sequence[float], most: int) -> list[int]:
    """Which points to keep, so that the line through them looks most like the line through all.

    Largest-Triangle-Three-Buckets (Sveinn Steinarsson, 2013): of each of equal groups of points the one that makes the
    largest triangle with the one chosen before and the mean of the next group. The first and the last one stay.

    Args:
        steps: of the points, ascending.
        values: of the points, all finite.
        most: points to keep, 3 or more.
    """
    total = len(values)
    if total <= most:
        return list(range(total))
    width = (total - 2) / (most - 2)
    bounds = [1 + int(number * width) for number in range(most - 1)] + [total]
    kept = [0]
    for number, (start, end) in enumerate(pairwise(bounds[:-1])):
        after = slice(end, max(bounds[number + 2], end + 1))
        mean_step = sum(steps[after]) / len(steps[after])
        mean_value = sum(values[after]) / len(values[after])
        step, value = steps[kept[-1]], values[kept[-1]]
        run, rise = mean_step - step, mean_value - value
        areas = (abs((steps[one] - step) * rise - (values[one] - value) * run) for one in range(start, end))
        kept.append(max(zip(areas, range(start, end), strict=True), key=lambda area: area[0])[1])
    return [*kept, total - 1]


class Ranks:
    """Which curves matter most: of the newest and best runs, and of the metrics that tell most.

    Args:
        experiments: with their runs; of each its metrics, the one that tells most first.
    """

    def __init__(self, experiments: Iterable[ExperimentPage]) -> None:
        self._runs: dict[str, tuple[int, dict[str, int]]] = {}
        for experiment in experiments:
            metrics = {metric.key: place for place, metric in enumerate(experiment.runs.metrics)}
            for place, run in _ranked(experiment):
                self._runs[run] = (place, metrics)

    def of(self, run: str, key: str) -> float | None:
        """The less, the more it matters; None: the page does not have it.

        Few metrics of many runs and many metrics of few runs count the same.
        """
        place, metrics = self._runs.get(run, (0, {}))
        return (1 + place) * (1 + metrics[key]) if key in metrics else None


def _ranked(experiment: ExperimentPage) -> Iterator[tuple[int, str]]:
    """The runs of an experiment, each with its rank: by its age or by its value, what gives the better one."""
    ids = experiment.runs.id
    ranks = {place: len(ids) - 1 - place for place in range(len(ids))}
    for metric in experiment.runs.metrics[:1]:
        places = range(len(ids)) if metric.at is None else metric.at
        known = [pair for pair in zip(metric.values, places, strict=True) if math.isfinite(pair[0])]
        for rank, (_, place) in enumerate(sorted(known, reverse=metric.goal == "max")):
            ranks[place] = min(ranks[place], rank)
    return ((rank, ids[place]) for place, rank in ranks.items())


def curves_of(snapshot: ByKind, ranks: Ranks, budget: int) -> CurveData:
    """The curves that fit, those that matter most first.

    Args:
        snapshot: that has the histories.
        ranks: which matter most.
        budget: points in all.
    """
    sizes: dict[Key, int] = {}
    lines: Iterator[HistoryLine] = snapshot.lines(METRICS)
    for line in lines:
        if ranks.of(line.run_id, line.key) is not None:
            sizes[line.run_id, line.key] = sizes.get((line.run_id, line.key), 0) + line.size
    ranked = ((ranks.of(*key) or 0.0, *key) for key in sizes)
    chosen = [(run, key) for _, run, key in heapq.nsmallest(max(1, budget // FEWEST_POINTS), ranked)]
    most = _points(sorted(sizes[one] for one in chosen), budget)
    wanted = set(chosen)
    found = [_curve(key, pieces, most) for key, pieces in _histories(snapshot, wanted)]
    return CurveData(curves=found, left_out=len(sizes) - len(chosen))


def _points(sizes: Sequence[int], budget: int) -> int:
    """The most points that each curve can have."""
    return next(
        (most for most in range(MOST_POINTS, FEWEST_POINTS, -4) if sum(min(size, most) for size in sizes) <= budget),
        FEWEST_POINTS,
    )


def _histories(snapshot: ByKind, wanted: set[Key]) -> Iterator[tuple[Key, list[MetricHistory]]]:
    """The histories that are wanted, each with all its pieces, which follow one another."""
    before: Key | None = None
    pieces: list[MetricHistory] = []
    lines: Iterator[HistoryLine] = snapshot.lines(METRICS)
    for line in lines:
        key = (line.run_id, line.key)
        if key != before:
            if before is not None and pieces:
                yield before, pieces
            before, pieces = key, []
        if key in wanted:
            pieces.append(taken_apart(line))
    if before is not None and pieces:
        yield before, pieces


def _curve(key: Key, pieces: Sequence[MetricHistory], most: int) -> Curve:
    points = [(step, value) for piece in pieces for step, _, value in piece.points()]
    sound = [point for point in points if math.isfinite(point[1])]
    steps, values = [step for step, _ in sound], [value for _, value in sound]
    kept = lttb(steps, values, most)
    places = _decimals(values)
    shown = [steps[one] for one in kept]
    return Curve(
        run=key[0],
        key=key[1],
        step=[*shown[:1], *(after - before for before, after in pairwise(shown))],
        value=[_rounded(values[one], places) for one in kept],
        total=len(points),
        odd=len(points) - len(sound),
    )


def _decimals(values: Sequence[float]) -> int:
    """Decimal places that tell heights apart."""
    level = (max(values, default=0.0) - min(values, default=0.0)) / _LEVELS
    return math.ceil(-math.log10(level)) if 0 < level < math.inf else 0


def _rounded(value: float, places: int) -> float | int:
    """A value with these decimal places, and with three significant digits at least."""
    if not value:
        return 0
    short = round(value, max(places, 2 - math.floor(math.log10(abs(value)))))
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def steps_of(curve: Curve) -> Mapping[int, float]:
    """The points of a curve as they were: value by step."""
    total, found = 0, {}
    for distance, value in zip(curve.step, curve.value, strict=True):
        total += distance
        found[total] = value
    return found
