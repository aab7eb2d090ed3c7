"""Logged models come back through the API.

They get new ids; their files stay where they are, which a tag names. Then it is said which of them runs used and made:
of what a run has already, for MLflow takes no model twice (`log_outputs`), and a killed restore may have said some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from mlmeta.progress import Progress
from mlmeta.schema import LOGGED_MODELS, RUNS, LoggedModel, LoggedModelMetric, Run
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext, SourceIds, TargetExperiment
from mlmeta.stores.api.log_batch import ITEMS
from mlmeta.stores.api.logged_models import page
from mlmeta.stores.api.name_rules import accepted, logged_model_obstacle
from mlmeta.stores.api.paging import entities_of
from mlmeta.stores.target import deleted_in_target

_KIND = LOGGED_MODELS.one
_FINAL = {"READY", "FAILED"}
_TOO_OLD = "upgrade the server to MLflow 3 and restore again, or restore into a database"
_DEFAULT = "0"
"""The experiment that every server has."""


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
            if entity.metrics and known & {source, entity.model_id}:
                context.model_metrics[entity.model_id] = Counter(metric.run_id for metric in entity.metrics)
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

    ask = partial(page, context.connection, experiment_id)
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
    """Create the logged models that the target lacks; those that it has get the metrics that they lost with a run.

    Args:
        context: of the restore; all runs are there by then.
        progress: told how far it is.
    """
    progress.phase("restoring logged models")
    for model in context.selected.logged_models():
        with context.refusing(_KIND, model.model_id, hint=""):
            _restore(model, context)
        progress.advance(LOGGED_MODELS.counted_as)


def _restore(model: LoggedModel, context: RestoreContext) -> None:
    if _is_there(model, context):
        context.was_there(LOGGED_MODELS, model.model_id)
        _complete(model, context)
    elif reason := _obstacle(model, context):
        context.refuse(_KIND, model.model_id, reason, hint="" if context.knows_models else _TOO_OLD)
    elif model.model_id in context.deleted_models:
        hint = "MLflow's API makes no logged model active again: restore into the server's database with --undelete"
        refusal = deleted_in_target(_KIND, model.model_id)
        context.refused.append(refusal.model_copy(update={"field": "", "hint": hint}))
    else:
        _make(model, context)


def _complete(model: LoggedModel, context: RestoreContext) -> None:
    """Give a logged model the metrics of runs that come back: `mlflow gc` removes a run's metrics of models, too."""
    target_id = context.target_model_id(model.model_id) or ""
    there = context.model_metrics.get(target_id, Counter())
    torn: list[LoggedModelMetric] = []
    count = 0
    for run_id, metrics in _by_run(model):
        found = context.runs.get(run_id)  # none where it is there under its own id: then it has lost nothing
        known = there[found.run_id] if found is not None else 0
        if (found is not None or run_id in context.coming_runs) and known < len(metrics):
            torn += metrics
            count += len(metrics) - known
    if not torn:
        return
    if context.writes:
        _log_metrics(model.model_copy(update={"metrics": tuple(torn)}), target_id, context)
    context.created["logged model metrics"] += count
    if there.total() + count == len(model.metrics):  # if not, somebody logged others, or more of them are gone
        context.completed.add((_KIND, model.model_id, "metrics"))


def _by_run(model: LoggedModel) -> Iterator[tuple[str, list[LoggedModelMetric]]]:
    by_run = attrgetter("run_id")
    return ((run_id, list(metrics)) for run_id, metrics in groupby(sorted(model.metrics, key=by_run), key=by_run))


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
    for run_id, metrics in _by_run(model):
        target_run = context.target_run_id(run_id)
        if target_run is None:
            _refuse_metrics(model, run_id, context)
            continue
        with context.refusing(_KIND, model.model_id, "metrics"):
            for start in range(0, len(metrics), ITEMS):
                some = [_entity(metric, target_run, target_id) for metric in metrics[start : start + ITEMS]]
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


def link_runs(context: RestoreContext, progress: Progress) -> None:
    """Say which logged models the runs made and used that came back; and others, where the models have a new id.

    Args:
        context: of the restore; all runs and logged models are there by then.
        progress: told how far it is.
    """
    if not context.writes:
        return
    progress.phase("linking runs and logged models")
    for item in context.selected.led(RUNS, lines=False):
        run: Run = item.record
        if run.model_inputs or run.model_outputs:
            _link(run, context)


def _link(run: Run, context: RestoreContext) -> None:
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    target_run, missing = _missing(run, context)
    outputs = [LoggedModelOutput(missing[o.model_id], o.step) for o in run.model_outputs if o.model_id in missing]
    inputs = [LoggedModelInput(missing[i.model_id]) for i in run.model_inputs if i.model_id in missing]
    client = context.connection.client
    with context.refusing(RUNS.one, run.run_id, "model_outputs"):
        if outputs:
            client.log_outputs(target_run, outputs)
        if inputs:
            client.log_inputs(target_run, models=inputs)


def _missing(run: Run, context: RestoreContext) -> tuple[str, dict[str, str]]:
    """The target's run, and the target's ids of its logged models that it lacks, by their ids in the snapshot.

    A run that is there under its own id lacks those that are there under another one.
    """
    found = context.target_run(run.run_id)
    own_ids = (*(one.model_id for one in run.model_inputs), *(one.model_id for one in run.model_outputs))
    models = {own: context.target_model_id(own) for own in own_ids}
    if found is None or not context.knows_models:
        return "", {}
    is_native = found.run_id == run.run_id
    known = context.used_models.get(found.run_id, frozenset())
    missing = {own: new for own, new in models.items() if new and new not in known and not (is_native and own == new)}
    if missing and found.run_id in context.native:  # it was there before, and a search may show nothing
        there = convert.models_of_run(context.connection.tracking.get_run(found.run_id))
        missing = {own: new for own, new in missing.items() if new not in there}
    return found.run_id, missing


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
