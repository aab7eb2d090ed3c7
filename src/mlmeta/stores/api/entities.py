"""MLflow's entities → records.

MLflow's REST messages can't tell an empty optional text from a missing one; a snapshot says None for both, so that
it doesn't depend on the way it was read.
"""

from __future__ import annotations

from typing import Any

from mlmeta.schema import (
    Dataset,
    DatasetInput,
    Experiment,
    LatestMetric,
    LoggedModel,
    LoggedModelMetric,
    ModelInput,
    ModelOutput,
    ModelVersion,
    RegisteredModel,
    Run,
)


def experiment(entity: Any, workspace: str | None = None) -> Experiment:
    """From `mlflow.entities.Experiment`, of a workspace."""
    return Experiment(
        workspace=workspace,
        experiment_id=str(_given(entity.experiment_id, "id")),
        name=_given(entity.name, "name"),
        artifact_location=entity.artifact_location or None,
        lifecycle_stage=stage(entity.lifecycle_stage),
        creation_time=entity.creation_time,
        last_update_time=entity.last_update_time,
        tags=dict(entity.tags),
    )


def run(entity: Any) -> Run:
    """From `mlflow.entities.Run`."""
    info, data = entity.info, entity.data
    return Run(
        run_id=_given(info.run_id, "id"),
        experiment_id=str(info.experiment_id),
        run_name=info.run_name or None,
        user_id=info.user_id or None,
        status=info.status,
        lifecycle_stage=stage(info.lifecycle_stage),
        start_time=info.start_time,
        end_time=info.end_time,
        artifact_uri=info.artifact_uri or None,
        params=dict(data.params),
        tags=dict(data.tags),
        metrics={m.key: LatestMetric(value=m.value, step=m.step, timestamp=m.timestamp) for m in data._metric_objs},
        dataset_inputs=tuple(map(dataset_input, getattr(entity.inputs, "dataset_inputs", None) or ())),
        model_outputs=model_outputs(entity),
    )


def model_outputs(entity: Any) -> tuple[ModelOutput, ...]:
    """The logged models that an `mlflow.entities.Run` made; MLflow 2 knows none."""
    return tuple(map(model_output, getattr(getattr(entity, "outputs", None), "model_outputs", None) or ()))


def model_inputs(entity: Any) -> tuple[ModelInput, ...]:
    """The logged models that an `mlflow.entities.Run` used."""
    found = getattr(getattr(entity, "inputs", None), "model_inputs", None) or ()
    return tuple(ModelInput(model_id=one.model_id) for one in found)


def models_of_run(entity: Any) -> frozenset[str]:
    """The ids of the logged models that a run used or made."""
    inputs, outputs = model_inputs(entity), model_outputs(entity)
    return frozenset((*(one.model_id for one in inputs), *(one.model_id for one in outputs)))


def model_output(entity: Any) -> ModelOutput:
    """From `mlflow.entities.LoggedModelOutput`."""
    return ModelOutput(model_id=entity.model_id, step=entity.step)


def dataset_input(entity: Any) -> DatasetInput:
    """From `mlflow.entities.DatasetInput`."""
    dataset = entity.dataset
    return DatasetInput(
        dataset=Dataset(
            name=dataset.name,
            digest=dataset.digest,
            source_type=dataset.source_type or None,
            source=dataset.source or None,
            schema=dataset.schema or None,
            profile=dataset.profile or None,
        ),
        tags={tag.key: tag.value for tag in entity.tags},
    )


def logged_model(entity: Any) -> LoggedModel:
    """From `mlflow.entities.LoggedModel`."""
    return LoggedModel(
        model_id=_given(entity.model_id, "id"),
        experiment_id=str(entity.experiment_id),
        name=entity.name,
        artifact_location=entity.artifact_location or None,
        creation_timestamp=entity.creation_timestamp,
        last_updated_timestamp=entity.last_updated_timestamp,
        status=str(entity.status),
        model_type=entity.model_type or None,
        source_run_id=entity.source_run_id or None,
        status_message=entity.status_message or None,
        params=dict(entity.params or {}),
        tags=dict(entity.tags or {}),
        metrics=tuple(
            LoggedModelMetric(
                key=m.key,
                value=m.value or 0.0,
                timestamp=m.timestamp,
                step=m.step,
                run_id=m.run_id,
                dataset_name=m.dataset_name or None,
                dataset_digest=m.dataset_digest or None,
            )
            for m in entity.metrics or ()
        ),
    )


def registered_model(
    entity: Any, versions: tuple[ModelVersion, ...] = (), workspace: str | None = None
) -> RegisteredModel:
    """From `mlflow.entities.model_registry.RegisteredModel` and its versions, of a workspace."""
    return RegisteredModel(
        workspace=workspace,
        name=_given(entity.name, "name"),
        creation_timestamp=entity.creation_timestamp,
        last_updated_timestamp=entity.last_updated_timestamp,
        description=entity.description or None,
        tags=dict(entity._tags),  # the public `tags` leaves out the tag that makes it a prompt
        aliases={alias: int(version) for alias, version in dict(entity.aliases).items()},
        versions=versions,
    )


def model_version(entity: Any) -> ModelVersion:
    """From `mlflow.entities.model_registry.ModelVersion`."""
    return ModelVersion(
        version=int(entity.version),
        creation_timestamp=entity.creation_timestamp,
        last_updated_timestamp=entity.last_updated_timestamp,
        user_id=entity.user_id or None,
        current_stage=entity.current_stage or None,
        description=entity.description or None,
        source=entity.source or None,
        run_id=entity.run_id or None,
        run_link=entity.run_link or None,
        status=entity.status or None,
        status_message=entity.status_message or None,
        model_id=getattr(entity, "model_id", None) or None,
        tags=dict(entity._tags),
    )


def _given(text: str, what: str) -> str:
    if not text:
        raise ValueError(f"it has no {what}")
    return text


def stage(text: str | None) -> str:
    """A lifecycle stage; MLflow itself takes one that is missing for active."""
    if text and text not in {"active", "deleted"}:
        raise ValueError(f"its lifecycle stage is {text!r}")
    return text or "active"
