"""Logged models through the API. Servers and clients before MLflow 3 have none; deleted ones are not shown.

A restore creates them again under new ids. Their files stay where they are, which a tag names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress
from mlmeta.schema import LOGGED_MODELS, RUNS, LoggedModel, LoggedModelMetric, Run, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import Connection, release, unreadable
from mlmeta.stores.api.context import RestoreContext, SourceIds, TargetExperiment
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.log_batch import ITEMS
from mlmeta.stores.api.name_rules import accepted, logged_model_obstacle
from mlmeta.stores.api.paging import Search, Sieve, entities_of
from mlmeta.stores.target import deleted_in_target

_PAGE = 100
_EXPERIMENTS_PER_CALL = 100
_ORDER = [{"field_name": "creation_timestamp", "ascending": True}]
_UNKNOWN = {404, 501}
"""What a server says that does not have this part of the API."""
_KIND = LOGGED_MODELS.one
_FINAL = {"READY", "FAILED"}
_TOO_OLD = "upgrade the server to MLflow 3 and restore again, or restore into a database"
_DEFAULT = "0"
"""The experiment that every server has."""
_OF_RUN = "run's logged models"
_RUNS_AHEAD = 16
"""Runs that are asked for at once."""
_FIRST, _LATER = (3, 0), (3, 10)
"""The first versions of MLflow with logged models, and those that surely show them in a search."""

Completing = Callable[[Iterable[Run | Skipped]], Iterator[Run | Skipped]]


def read(connection: Connection, experiment_ids: list[str]) -> Iterator[LoggedModel | Skipped]:
    """All logged models of some experiments, in a snapshot's order.

    Args:
        connection: to the store.
        experiment_ids: in a snapshot's order. Most have no such model: many are asked about at once.
    """
    if connection.kind == "files":
        yield from itertools.chain.from_iterable(map(FileStore(connection).logged_models, experiment_ids))
        return
    sieve = Sieve(connection, LOGGED_MODELS, LOGGED_MODELS.many, convert.logged_model)
    for some in _batches(experiment_ids):
        if _has_any(connection, some):
            for experiment_id in some:
                search = _search(connection, experiment_id)
                yield from sieve.sift(search, experiment_id)
                yield from search.skipped


def are_there(connection: Connection, experiment_ids: list[str]) -> bool:
    """Whether a server has any logged model in some experiments."""
    return any(_has_any(connection, some) for some in _batches(experiment_ids))


def _batches(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + _EXPERIMENTS_PER_CALL] for start in range(0, len(ids), _EXPERIMENTS_PER_CALL))


def _has_any(connection: Connection, experiment_ids: list[str]) -> bool:
    """Whether any of these experiments has a logged model. Where nobody knows the kind, none has."""
    if not hasattr(connection.client, "search_logged_models"):  # a client before 3
        return False
    try:
        found = connection.client.search_logged_models(experiment_ids=experiment_ids, max_results=1)
    except NotImplementedError:  # a store that MLflow has no more use for
        return False
    except unreadable() as error:
        connection.failed(error)
        return _status(error) not in _UNKNOWN  # asking for each will tell what else is wrong
    return len(found) > 0


def _status(error: Exception) -> int | None:
    from mlflow.exceptions import MlflowException

    return error.get_http_status_code() if isinstance(error, MlflowException) else None


def _search(connection: Connection, experiment_id: str) -> Search:
    return Search(
        connection,
        LOGGED_MODELS.many,
        ask=partial(_ask, connection, experiment_id),
        key=lambda entity: entity.model_id,
        lost=lambda place: f"of experiment {experiment_id}, {place}".removesuffix(", all"),
        size=_PAGE,
    )


def _ask(connection: Connection, experiment_id: str, token: str | None, size: int) -> Any:
    return connection.client.search_logged_models(
        experiment_ids=[experiment_id], max_results=size, order_by=_ORDER, page_token=token
    )


def completing(connection: Connection, threads: Executor, experiment_ids: list[str]) -> Completing:
    """What makes the runs of a search whole; nothing is asked where the search shows all there is.

    Servers of MLflow 3.0 to 3.9 leave the logged models that runs made and used out of a search for runs
    (`_get_model_outputs_bulk` of MLflow's SQLAlchemy store came later), and show them where one is asked for by its id.

    Args:
        connection: to the store.
        threads: ask for several runs at once.
        experiment_ids: of the experiments that are read.
    """
    if _hides_models(connection) and are_there(connection, experiment_ids):
        return partial(_completed, connection, threads)
    return iter


def _hides_models(connection: Connection) -> bool:
    version = release(connection.server_version())
    return version is not None and _FIRST <= version < _LATER


def _completed(connection: Connection, threads: Executor, items: Iterable[Run | Skipped]) -> Iterator[Run | Skipped]:
    for found in ordered_map(threads, partial(_with_models, connection), items, _RUNS_AHEAD):
        yield from found


def _with_models(connection: Connection, item: Run | Skipped) -> tuple[Run | Skipped, ...]:
    """A run with its logged models, or as it is and why they can't be read."""
    if isinstance(item, Skipped):
        return (item,)
    ask: Callable[[], dict[str, Any]] = partial(_models_of_run, connection, item.run_id)
    models = connection.read_or_skip(_OF_RUN, item.run_id, ask, asks=True)
    return (item, models) if isinstance(models, Skipped) else (item.model_copy(update=models),)


def _models_of_run(connection: Connection, run_id: str) -> dict[str, Any]:
    entity = connection.tracking.get_run(run_id)
    return {"model_inputs": convert.model_inputs(entity), "model_outputs": convert.model_outputs(entity)}


def survey(context: RestoreContext) -> None:
    """Note which logged models of the snapshot the target has. Nothing is asked where the snapshot has none."""
    selected, connection = context.selected, context.connection
    known = {model.model_id for model in selected.snapshot.records(LOGGED_MODELS)}
    context.coming_models = {m.model_id for m in selected.logged_models() if m.lifecycle_stage != "deleted"}
    context.knows_models = hasattr(connection.client, "create_logged_model")  # of MLflow 3 on
    there = [experiment.target_id for experiment in context.experiments.values() if experiment.target_id]
    for experiment_id in (there or [_DEFAULT]) if known and not context.is_planned else ():
        for entity in _entities_of(context, experiment_id):
            context.native_models[entity.model_id] = entity.artifact_location or ""
            source = entity.tags.get(restore_tags.SOURCE_MODEL_ID)
            if source in known:
                context.logged_models[source] = (entity.model_id, restore_tags.SNAPSHOT in entity.tags)
    for model in selected.logged_models():
        if model.model_id in context.native_models:  # itself, not what an earlier restore made of it
            context.logged_models.pop(model.model_id, None)
        elif _may_be_deleted(model, context) and _is_deleted(connection, model):
            context.deleted_models.add(model.model_id)


def _entities_of(context: RestoreContext, experiment_id: str) -> Iterator[Any]:
    """The logged models of one of the target's experiments; none where it knows no such thing."""
    from mlflow.exceptions import MlflowException

    ask = partial(_ask, context.connection, experiment_id, size=_PAGE)
    try:
        if context.knows_models:
            yield from entities_of(ask, key=attrgetter("model_id"))
    except MlflowException as error:
        if error.get_http_status_code() != 404:
            raise
        context.knows_models = False  # a server before 3


def _is_there(model: LoggedModel, context: RestoreContext) -> bool:
    """Whether the target has a logged model of the snapshot, and whole."""
    _, complete = context.logged_models.get(model.model_id, ("", False))
    return complete or model.model_id in context.native_models


def _obstacle(model: LoggedModel, context: RestoreContext) -> str:
    """Why a logged model can't be made; empty: it is there, or it can."""
    if _is_there(model, context):
        return ""
    if not context.knows_models:
        return "the target has no logged models, which came with MLflow 3"
    if not context.experiments[model.experiment_id].is_open:
        return "its experiment is not in the target, or deleted there"
    if reason := logged_model_obstacle(model.name):
        return reason
    if model.lifecycle_stage == "deleted":
        return "it is deleted, and a server does not show deleted ones: a database target keeps it"
    return ""


def _may_be_deleted(model: LoggedModel, context: RestoreContext) -> bool:
    """Whether the target's experiment is the snapshot's own, and lacks a logged model."""
    return not _obstacle(model, context) and context.experiments[model.experiment_id].own


def _is_deleted(connection: Connection, model: LoggedModel) -> bool:
    """Whether the target has a logged model under its own id, deleted: a search does not show it."""
    if connection.kind != "server":  # nothing else can be asked for one
        return False
    reply = connection.request(
        "GET", f"/api/2.0/mlflow/logged-models/{quote(model.model_id, safe='')}?allow_deleted=true"
    )
    return bool(reply.status_code == 200)


def restore(context: RestoreContext, progress: Progress) -> None:
    """Create the logged models that the target lacks, and link them to the runs that made or used them.

    Args:
        context: of the restore; all runs are there by then.
        progress: told how far it is.
    """
    progress.phase("restoring logged models")
    made: set[str] = set()
    for model in context.selected.logged_models():
        with context.refusing(_KIND, model.model_id, hint=""):
            if _restore(model, context):
                made.add(model.model_id)
        progress.advance(LOGGED_MODELS.counted_as)
    if made and context.writes:
        for item in context.selected.led(RUNS, lines=False):
            _link(item.record, made, context)


def _restore(model: LoggedModel, context: RestoreContext) -> bool:
    """Whether a logged model is made."""
    if _is_there(model, context):
        context.was_there(LOGGED_MODELS, model.model_id)
    elif reason := _obstacle(model, context):
        context.refuse(_KIND, model.model_id, reason, hint="" if context.knows_models else _TOO_OLD)
    elif model.model_id in context.deleted_models:
        hint = "MLflow's API makes no logged model active again: restore into the server's database with --undelete"
        refusal = deleted_in_target(_KIND, model.model_id)
        context.refused.append(refusal.model_copy(update={"field": "", "hint": hint}))
    else:
        _make(model, context)
        return True
    return False


def _make(model: LoggedModel, context: RestoreContext) -> None:
    tags = accepted(_KIND, model.model_id, restore_tags.without(model.tags), context)
    if context.writes:
        _write(model, tags, context)
    else:
        for run_id in sorted({metric.run_id for metric in model.metrics} - context.coming_runs):
            if context.target_run(run_id) is None:
                _refuse_metrics(model, run_id, context)
    context.created[LOGGED_MODELS.counted_as] += 1


def _write(model: LoggedModel, tags: dict[str, str], context: RestoreContext) -> None:
    client = context.connection.client
    target_id, _ = context.logged_models.get(model.model_id, ("", False))
    if not target_id:
        target_id = _create(model, tags, context)
        context.logged_models[model.model_id] = (target_id, False)
    _log_metrics(model, target_id, context)
    if model.status in _FINAL:
        client.finalize_logged_model(target_id, model.status)
    client.set_logged_model_tags(target_id, {restore_tags.SNAPSHOT: context.timestamp})
    context.logged_models[model.model_id] = (target_id, True)


def _create(model: LoggedModel, tags: dict[str, str], context: RestoreContext) -> str:
    tags = {**tags, restore_tags.SOURCE_MODEL_ID: model.model_id}
    location = context.rewritten(LOGGED_MODELS, model.artifact_location)
    if location:
        tags[restore_tags.SOURCE_ARTIFACT_URI] = location
    run_id = model.source_run_id
    entity = context.connection.client.create_logged_model(
        context.experiments[model.experiment_id].target_id,
        name=model.name,
        source_run_id=(context.target_run_id(run_id) or run_id) if run_id else None,
        tags=tags,
        params=model.params,
        model_type=model.model_type,
    )
    return str(entity.model_id)


def _log_metrics(model: LoggedModel, target_id: str, context: RestoreContext) -> None:
    by_run = attrgetter("run_id")
    for run_id, metrics in groupby(sorted(model.metrics, key=by_run), key=by_run):
        target_run = context.target_run_id(run_id)
        if target_run is None:
            _refuse_metrics(model, run_id, context)
            continue
        with context.refusing(_KIND, model.model_id, "metrics"):
            while some := [_entity(metric, target_run, target_id) for metric in islice(metrics, ITEMS)]:
                context.connection.tracking.log_batch(target_run, metrics=some, params=[], tags=[])


def _refuse_metrics(model: LoggedModel, run_id: str, context: RestoreContext) -> None:
    context.refuse(_KIND, model.model_id, f"run {run_id} is not in the target", "metrics")


def _entity(metric: LoggedModelMetric, run_id: str, model_id: str) -> Any:
    from mlflow.entities import Metric

    return Metric(
        metric.key,
        metric.value,
        metric.timestamp,
        metric.step,
        model_id=model_id,
        dataset_name=metric.dataset_name,
        dataset_digest=metric.dataset_digest,
        run_id=run_id,
    )


def in_own_ids(model: LoggedModel, experiment: TargetExperiment, ids: SourceIds) -> LoggedModel:
    """A logged model of the target in the snapshot's ids and order."""
    metrics = (metric.model_copy(update={"run_id": ids.run(metric.run_id)}) for metric in model.metrics)
    update = {
        "model_id": ids.logged_models.get(model.model_id, model.model_id),
        "experiment_id": experiment.source.experiment_id,
        "source_run_id": model.source_run_id and ids.run(model.source_run_id),
        "metrics": tuple(sorted(metrics, key=lambda m: (m.key, m.step, m.timestamp, m.run_id))),
    }
    return model.model_copy(update=update)


def expected(own: LoggedModel, found: LoggedModel, _: RestoreContext) -> LoggedModel:
    """A logged model of the snapshot as the target should give it back."""
    return restore_tags.with_those_of(found, own)


def _link(run: Run, made: set[str], context: RestoreContext) -> None:
    """Say again which of the new models a run made and used."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    outputs = [o for o in run.model_outputs if o.model_id in made]
    inputs = [i for i in run.model_inputs if i.model_id in made]
    target_run, new = context.target_run_id(run.run_id), context.logged_models
    if target_run is None or not (outputs or inputs):
        return
    client = context.connection.client
    with context.refusing(RUNS.one, run.run_id, "model_outputs"):
        if outputs:
            client.log_outputs(target_run, [LoggedModelOutput(new[o.model_id][0], o.step) for o in outputs])
        if inputs:
            client.log_inputs(target_run, models=[LoggedModelInput(new[i.model_id][0]) for i in inputs])
