"""The experiments of a snapshot with their runs, in the columns that the page has."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from mlmeta.page.metrics import goal_of, in_order
from mlmeta.page.model import ExperimentPage, MadeModel, Metric, ModelPage, Runs, Texts, UsedDataset, VersionPage
from mlmeta.schema import DEFAULT_WORKSPACE, Experiment, LoggedModel, RegisteredModel, Run
from mlmeta.schema.models import IS_PROMPT
from mlmeta.schema.runs import PARENT_RUN_ID
from mlmeta.snapshot.by_kind import ByKind

MOST_RUNS = 20_000
"""On a page: a browser has to hold them."""
MOST_VALUES = 2_000_000
"""Of params, tags and metrics of these runs."""
EXACT_VALUES = 20_000
"""So many values are on a page as they are; more are rounded."""
DIGITS = 7
LONGEST = 500
"""Characters of a text, such as a param; the rest of it is left out."""

_HIDDEN = {"mlflow.runName", "mlflow.user", "mlflow.log-model.history"}


def newest_runs(runs: Iterable[Run], most: int = MOST_RUNS) -> tuple[dict[str, list[Run]], Counter[str]]:
    """The newest runs, by experiment, in their order; and how many each experiment has.

    Args:
        runs: in a snapshot's order.
        most: runs that are kept.
    """
    numbers, totals, values = count(), Counter[str](), 0
    kept: list[tuple[int, int, Run]] = []
    for run in runs:
        totals[run.experiment_id] += 1
        heapq.heappush(kept, (run.start_time or 0, next(numbers), _slim(run)))
        values += _values(run)
        while len(kept) > most or (values > MOST_VALUES and len(kept) > 1):
            values -= _values(heapq.heappop(kept)[2])
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for _, _, run in sorted(kept, key=lambda item: item[1]):
        found[run.experiment_id].append(run)
    return found, totals


def _values(run: Run) -> int:
    return len(run.params) + len(run.tags) + len(run.metrics) + len(run.dataset_inputs)


def _slim(run: Run) -> Run:
    """A run with what is shown of it: texts are cut, and profiles of datasets, which can have megabytes, are gone."""
    used = tuple(
        one.model_copy(
            update={"dataset": one.dataset.model_copy(update={"schema_": None, "profile": None, "source": None})}
        )
        for one in run.dataset_inputs
    )
    tags = {key: text for key, text in run.tags.items() if key not in _HIDDEN}
    texts = {"params": _short_map(run.params), "tags": _short_map(tags)}
    return run.model_copy(update={**texts, "dataset_inputs": used})


def digits_for(runs: Mapping[str, Sequence[Run]]) -> int:
    """Significant digits that values are rounded to; 0: they are few enough to be exact."""
    total = sum(len(run.metrics) for own in runs.values() for run in own)
    return DIGITS if total > EXACT_VALUES else 0


def experiment_pages(
    snapshot: ByKind, runs: Mapping[str, Sequence[Run]], totals: Mapping[str, int], digits: int
) -> list[ExperimentPage]:
    """The experiments of a snapshot.

    Args:
        snapshot: all of it, or the part that is meant.
        runs: of each experiment, those that are shown.
        totals: how many it has.
        digits: see `digits_for`.
    """
    models: defaultdict[str, list[LoggedModel]] = defaultdict(list)
    names: dict[str, str] = {}
    for model in snapshot.logged_models():
        names[model.model_id] = model.name
        if model.source_run_id:
            models[model.source_run_id].append(model)
    return [
        _experiment_page(
            one, runs.get(one.experiment_id, ()), totals.get(one.experiment_id, 0), digits, (models, names)
        )
        for one in snapshot.experiments()
    ]


_Models = tuple[Mapping[str, list[LoggedModel]], Mapping[str, str]]
"""The logged models of each run, and the names of all."""


def _experiment_page(
    experiment: Experiment, runs: Sequence[Run], total: int, digits: int, models: _Models
) -> ExperimentPage:
    return ExperimentPage(
        id=experiment.experiment_id,
        name=experiment.name,
        workspace=experiment.workspace or DEFAULT_WORKSPACE,
        is_deleted=experiment.lifecycle_stage == "deleted",
        created=experiment.creation_time,
        tags=_short_map(experiment.tags),
        total=total,
        runs=_columns(runs, digits, models),
    )


def _columns(runs: Sequence[Run], digits: int, models: _Models) -> Runs:
    tags = [{key: text for key, text in run.tags.items() if key != PARENT_RUN_ID} for run in runs]
    return Runs(
        id=[run.run_id for run in runs],
        name=[shortened(run.run_name or "") for run in runs],
        user=[shortened(run.user_id or "") for run in runs],
        status=[run.status for run in runs],
        deleted=[run.lifecycle_stage == "deleted" for run in runs],
        start=[run.start_time for run in runs],
        end=[run.end_time for run in runs],
        parent=[run.tags.get(PARENT_RUN_ID, "") for run in runs],
        params=list(_texts([run.params for run in runs])),
        metrics=list(_metrics(runs, digits)),
        tags=list(_texts(tags)),
        datasets=list(_datasets(runs)),
        models=list(_models(runs, *models)),
    )


def _by_key(maps: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[Any]]]:
    """Of each key, which of the maps have it, and their values."""
    found: dict[str, tuple[list[int], list[Any]]] = {}
    for place, one in enumerate(maps):
        for key, value in one.items():
            places, values = found.setdefault(key, ([], []))
            places.append(place)
            values.append(value)
    return found


def _texts(maps: Sequence[Mapping[str, str]]) -> Iterator[Texts]:
    """Those of most runs first; before them those that tell runs apart."""

    def order(one: Texts) -> tuple[bool, int, str]:
        return len(one.words) == 1, -len(one.of), one.key

    columns = []
    for key, (places, values) in _by_key(maps).items():
        words = {text: place for place, text in enumerate(dict.fromkeys(values))}
        of = [words[text] for text in values]
        columns.append(Texts(key=key, at=_all_or(places, len(maps)), words=list(words), of=of))
    yield from sorted(columns, key=order)


def _metrics(runs: Sequence[Run], digits: int) -> Iterator[Metric]:
    columns = _by_key([run.metrics for run in runs])
    for key in in_order((key, len(places) / len(runs)) for key, (places, _) in columns.items()):
        places, latest = columns[key]
        values = [_rounded(metric.value, digits) for metric in latest]
        yield Metric(key=key, goal=goal_of(key), at=_all_or(places, len(runs)), values=values)


def _all_or(places: list[int], total: int) -> list[int] | None:
    return None if len(places) == total else places


def _rounded(value: float, digits: int) -> float | int:
    """A value, as an integer where it is one: that is shorter."""
    if not math.isfinite(value):
        return value
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.{digits}g}") if digits else value


def _datasets(runs: Sequence[Run]) -> Iterator[UsedDataset]:
    for place, run in enumerate(runs):
        for used in run.dataset_inputs:
            context = used.tags.get("mlflow.data.context", "")
            yield UsedDataset(
                run=place, name=shortened(used.dataset.name), digest=used.dataset.digest, context=shortened(context)
            )


def _models(
    runs: Sequence[Run], made: Mapping[str, list[LoggedModel]], names: Mapping[str, str]
) -> Iterator[MadeModel]:
    for place, run in enumerate(runs):
        outputs = [one.model_id for one in run.model_outputs]
        outputs += [model.model_id for model in made.get(run.run_id, ()) if model.model_id not in outputs]
        for ids, is_input in ((outputs, False), ([one.model_id for one in run.model_inputs], True)):
            for own in ids:
                yield MadeModel(run=place, model_id=own, name=shortened(names.get(own, "")), is_input=is_input)


def model_pages(models: Iterable[RegisteredModel]) -> list[ModelPage]:
    """The model registry."""
    return [
        ModelPage(
            name=model.name,
            workspace=model.workspace or DEFAULT_WORKSPACE,
            is_prompt=model.tags.get(IS_PROMPT, "").lower() == "true",
            description=shortened(model.description or ""),
            created=model.creation_timestamp,
            updated=model.last_updated_timestamp,
            tags=_short_map(model.tags),
            aliases=model.aliases,
            versions=[
                VersionPage(
                    version=one.version,
                    stage=one.current_stage if one.current_stage not in {None, "None"} else "",
                    status=one.status or "",
                    created=one.creation_timestamp,
                    description=shortened(one.description or ""),
                    source=shortened(one.source or ""),
                    run_id=one.run_id or "",
                    tags=_short_map(one.tags),
                )
                for one in reversed(model.versions)
            ],
        )
        for model in models
    ]


def shortened(text: str) -> str:
    """A text, or the beginning of one that is very long."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _short_map(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: shortened(text) for key, text in texts.items()}
