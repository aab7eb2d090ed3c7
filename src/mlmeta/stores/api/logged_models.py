"""Logged models: created again under new ids. Their files stay where they are, which a tag names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import LOGGED_MODELS, LoggedModel, LoggedModelMetric, Run
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import diagnosis, restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import Place, State
from mlmeta.stores.api.log_batch import ITEMS
from mlmeta.stores.api.name_rules import accepted, logged_model_obstacle
from mlmeta.stores.target import deleted_in_target

_PAGE = 100
_FINAL = {"READY", "FAILED"}
_TOO_OLD = "upgrade the server to MLflow 3 and restore again, or restore into a database"
_DEFAULT = "0"
"""The experiment that every server has."""


def note_logged_models(connection: Connection, selected: Selected, state: State) -> None:
    """Find out which logged models of the snapshot the target has. Nothing is asked where the snapshot has none."""
    known = {model.model_id for model in selected.snapshot.records(LOGGED_MODELS)}
    state.coming_models = {m.model_id for m in selected.logged_models() if m.lifecycle_stage != "deleted"}
    state.knows_models = _knows(connection)
    there = [place.target_id for place in state.places.values() if place.target_id]
    for experiment_id in (there or [_DEFAULT]) if known else ():
        for entity in _search(connection, experiment_id, state):
            state.native_models[entity.model_id] = entity.artifact_location or ""
            source = entity.tags.get(restore_tags.SOURCE_MODEL_ID)
            if source in known:
                state.logged_models[source] = (entity.model_id, restore_tags.SNAPSHOT in entity.tags)
    for model in selected.logged_models():
        if model.model_id in state.native_models:  # itself, not what an earlier restore made of it
            state.logged_models.pop(model.model_id, None)
        elif not _obstacle(model, state) and state.places[model.experiment_id].own and _is_deleted(connection, model):
            state.deleted_models.add(model.model_id)


def is_there(model: LoggedModel, state: State) -> bool:
    """Whether the target has a logged model of the snapshot, and whole."""
    _, complete = state.logged_models.get(model.model_id, ("", False))
    return complete or model.model_id in state.native_models


def _obstacle(model: LoggedModel, state: State) -> str:
    """Why a logged model can't be made; empty: it is there, or it can."""
    if is_there(model, state):
        return ""
    if not state.knows_models:
        return "the target has no logged models, which came with MLflow 3"
    if not state.places[model.experiment_id].is_open:
        return "its experiment is not in the target, or deleted there"
    if reason := logged_model_obstacle(model.name):
        return reason
    if model.lifecycle_stage == "deleted":
        return "it is deleted, and a server does not show deleted ones: a database target keeps it"
    return ""


def _is_deleted(connection: Connection, model: LoggedModel) -> bool:
    """Whether the target has a logged model under its own id, deleted: a search does not show it."""
    reply = connection.request("GET", f"/api/2.0/mlflow/logged-models/{model.model_id}?allow_deleted=true")
    return bool(reply.status_code == 200)


class LoggedModelRestorer:
    """Creates logged models and links them to the runs that made or used them.

    Args:
        connection: to the target.
        state: of the restore; all runs are there by now.
        timestamp: the snapshot's.
        writes: whether anything is written; if not, `state` says afterwards what would be.
    """

    def __init__(self, connection: Connection, state: State, timestamp: str, *, writes: bool = True) -> None:
        self._connection = connection
        self._state = state
        self._timestamp = timestamp
        self._writes = writes
        self._made: set[str] = set()

    def restore(self, selected: Selected, progress: Progress) -> None:
        """Create what is missing."""
        from mlflow.exceptions import MlflowException

        for model in selected.logged_models():
            try:
                self._restore(model)
            except MlflowException as error:
                self._connection.check()
                reason, hint = self._connection.reason(error), diagnosis.advice(error, "")
                self._state.refuse("logged model", model.model_id, reason, hint=hint)
            progress.advance("logged models")
        if self._made and self._writes:
            for item in selected.runs_with_lines(histories=False):
                self._link(item.run)

    def _restore(self, model: LoggedModel) -> None:
        if is_there(model, self._state):
            self._state.was_there("logged models", "logged model", model.model_id)
        elif reason := _obstacle(model, self._state):
            hint = "" if self._state.knows_models else _TOO_OLD
            self._state.refuse("logged model", model.model_id, reason, hint=hint)
        elif model.model_id in self._state.deleted_models:
            hint = "MLflow's API makes no logged model active again: restore into the server's database with --undelete"
            refusal = deleted_in_target("logged model", model.model_id)
            self._state.refused.append(refusal.model_copy(update={"field": "", "hint": hint}))
        else:
            self._make(model, self._state.places[model.experiment_id])

    def _make(self, model: LoggedModel, place: Place) -> None:
        tags = accepted("logged model", model.model_id, restore_tags.without(model.tags), self._state)
        if self._writes:
            self._write(model, place, tags)
        else:
            for run_id in sorted({metric.run_id for metric in model.metrics} - self._state.coming_runs):
                if self._state.target_run(run_id) is None:
                    self._refuse_metrics(model, run_id)
        self._state.created["logged models"] += 1
        self._made.add(model.model_id)

    def _write(self, model: LoggedModel, place: Place, tags: dict[str, str]) -> None:
        client = self._connection.client
        target_id, _ = self._state.logged_models.get(model.model_id, ("", False))
        if not target_id:
            target_id = self._create(model, place, tags)
            self._state.logged_models[model.model_id] = (target_id, False)
        self._log_metrics(model, target_id)
        if model.status in _FINAL:
            client.finalize_logged_model(target_id, model.status)
        client.set_logged_model_tags(target_id, {restore_tags.SNAPSHOT: self._timestamp})
        self._state.logged_models[model.model_id] = (target_id, True)

    def _create(self, model: LoggedModel, place: Place, tags: dict[str, str]) -> str:
        tags = {**tags, restore_tags.SOURCE_MODEL_ID: model.model_id}
        location = self._state.rewritten("logged models", model.artifact_location)
        if location:
            tags[restore_tags.SOURCE_ARTIFACT_URI] = location
        run_id = model.source_run_id
        entity = self._connection.client.create_logged_model(
            place.target_id,
            name=model.name,
            source_run_id=(self._state.target_run(run_id) or run_id) if run_id else None,
            tags=tags,
            params=model.params,
            model_type=model.model_type,
        )
        return str(entity.model_id)

    def _log_metrics(self, model: LoggedModel, target_id: str) -> None:
        from mlflow.exceptions import MlflowException

        for run_id, metrics in groupby(sorted(model.metrics, key=lambda m: m.run_id), key=lambda m: m.run_id):
            target_run = self._state.target_run(run_id)
            try:
                if target_run is None:
                    self._refuse_metrics(model, run_id)
                    continue
                for some in _parts(metrics):
                    entities = [_entity(metric, target_run, target_id) for metric in some]
                    self._connection.tracking.log_batch(target_run, metrics=entities, params=[], tags=[])
            except MlflowException as error:
                self._connection.check()
                self._state.refuse("logged model", model.model_id, self._connection.reason(error), "metrics")

    def _refuse_metrics(self, model: LoggedModel, run_id: str) -> None:
        self._state.refuse("logged model", model.model_id, f"run {run_id} is not in the target", "metrics")

    def _link(self, run: Run) -> None:
        """Say again which of the new models a run made and used."""
        from mlflow.entities import LoggedModelInput, LoggedModelOutput
        from mlflow.exceptions import MlflowException

        made = [o for o in run.model_outputs if o.model_id in self._made]
        used = [i for i in run.model_inputs if i.model_id in self._made]
        target_run = self._state.target_run(run.run_id)
        if target_run is None or not (made or used):
            return
        new = self._state.logged_models
        try:
            if made:
                outputs = [LoggedModelOutput(new[o.model_id][0], o.step) for o in made]
                self._connection.client.log_outputs(target_run, outputs)
            if used:
                inputs = [LoggedModelInput(new[i.model_id][0]) for i in used]
                self._connection.client.log_inputs(target_run, models=inputs)
        except MlflowException as error:
            self._connection.check()
            self._state.refuse("run", run.run_id, self._connection.reason(error), "model_outputs")


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


def _parts(metrics: Iterator[LoggedModelMetric]) -> Iterator[list[LoggedModelMetric]]:
    while some := list(islice(metrics, ITEMS)):
        yield some


def _knows(connection: Connection) -> bool:
    """Whether the installed MLflow knows logged models: from version 3 on."""
    return hasattr(connection.client, "create_logged_model")


def _search(connection: Connection, experiment_id: str, state: State) -> Iterator[Any]:
    """The logged models of one of the target's experiments; none where it knows no such thing."""
    from mlflow.exceptions import MlflowException

    token = None
    while state.knows_models:
        try:
            page = connection.client.search_logged_models([experiment_id], max_results=_PAGE, page_token=token)
        except MlflowException as error:
            if error.get_http_status_code() == 404:  # a server before 3
                state.knows_models = False
                return
            raise
        yield from page
        token = page.token
        if not token:
            return


def translated(found: LoggedModel, source: LoggedModel, state: State) -> LoggedModel:
    """A logged model of the target in the snapshot's ids."""
    runs = state.source_runs()
    return found.model_copy(
        update={
            "model_id": source.model_id,
            "experiment_id": source.experiment_id,
            "creation_timestamp": source.creation_timestamp,
            "source_run_id": runs.get(found.source_run_id or "", found.source_run_id),
            "tags": {k: v for k, v in found.tags.items() if k in source.tags},
            "metrics": tuple(sorted_metrics(found, runs)),
        }
    )


def sorted_metrics(model: LoggedModel, runs: dict[str, str]) -> list[LoggedModelMetric]:
    """The metrics of a logged model, in the snapshot's run ids and order."""
    metrics = [m.model_copy(update={"run_id": runs.get(m.run_id, m.run_id)}) for m in model.metrics]
    return sorted(metrics, key=lambda m: (m.key, m.step, m.timestamp, m.run_id))
