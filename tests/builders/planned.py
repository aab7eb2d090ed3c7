"""Hypothesis-made stores: what MLflow's own client is told to store."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag

from tests.builders.strategies import CROWDED_POINTS

_KEYS = st.text("aB0_-. /:é模", min_size=1, max_size=8).filter(
    lambda key: key.strip(" /.:") == key and "//" not in key and ".." not in key and "/." not in key and "./" not in key
)
_PLAIN_KEYS = st.text("abcXYZ0_-. ", min_size=1, max_size=8).map(lambda key: f"k{key}k")
_WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).map(lambda name: f"n{name}n")
_TIMES = st.integers(0, 2**41)


@dataclass(frozen=True)
class PlannedRun:
    start: int
    end: int | None
    status: str
    deleted: bool
    parent: bool
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, list[tuple[int, int, float]]]


@dataclass(frozen=True)
class PlannedStore:
    """Experiments by name with their runs and whether they are deleted; models by name with their versions.

    A version is (deleted again, of the first run, stage, description).
    """

    experiments: dict[str, tuple[bool, dict[str, str], list[PlannedRun]]]
    models: dict[str, tuple[dict[str, str], list[tuple[bool, bool, str, str]]]] = field(default_factory=dict)


_points = CROWDED_POINTS.filter(lambda point: point[1] >= 0)
_runs = st.builds(
    PlannedRun,
    start=_TIMES,
    end=st.none() | _TIMES,
    status=st.sampled_from(["RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"]),
    deleted=st.booleans(),
    parent=st.booleans(),
    params=st.dictionaries(_PLAIN_KEYS, _WORDS, max_size=3),
    tags=st.dictionaries(_PLAIN_KEYS, _WORDS, max_size=3),
    metrics=st.dictionaries(_PLAIN_KEYS, st.lists(_points, min_size=1, max_size=5), max_size=2),
)
_versions = st.tuples(
    st.booleans(), st.booleans(), st.sampled_from(["None", "Staging", "Production", "Archived"]), _WORDS
)
stores = st.builds(
    PlannedStore,
    experiments=st.dictionaries(
        _NAMES,
        st.tuples(st.booleans(), st.dictionaries(_PLAIN_KEYS, _WORDS, max_size=2), st.lists(_runs, max_size=3)),
        max_size=3,
    ),
    models=st.dictionaries(
        _NAMES.map(lambda name: name.replace("/", "").replace(":", "")),
        st.tuples(st.dictionaries(_PLAIN_KEYS, _WORDS, max_size=2), st.lists(_versions, max_size=3)),
        max_size=2,
    ),
)


def make(uri: str, plan: PlannedStore) -> None:
    """Fill the store at `uri` through MLflow's client."""
    client = MlflowClient(uri)
    runs: list[str] = []
    deleted = []
    for name, (gone, tags, planned) in plan.experiments.items():
        experiment = client.create_experiment(name, f"gs://bucket/{len(deleted)}", tags)
        for run in planned:
            runs.append(_run(client, experiment, run, runs))
        deleted += [experiment] if gone else []
    for name, (tags, versions) in plan.models.items():
        client.create_registered_model(name, tags)
        _model(client, name, versions, runs)
    for experiment in deleted:
        client.delete_experiment(experiment)


def _run(client: MlflowClient, experiment: str, plan: PlannedRun, others: list[str]) -> str:
    parent = {"mlflow.parentRunId": others[0]} if plan.parent and others else {}
    # the name tells runs apart when stores are compared without ids
    run = client.create_run(experiment, plan.start, {"mlflow.user": "ada", **parent}, f"run-{len(others)}-{experiment}")
    run_id = str(run.info.run_id)
    points = [Metric(key, value, time, step) for key, found in plan.metrics.items() for step, time, value in found]
    client.log_batch(
        run_id, points, [Param(k, v) for k, v in plan.params.items()], [RunTag(k, v) for k, v in plan.tags.items()]
    )
    client._tracking_client.store.update_run_info(run_id, RunStatus.from_string(plan.status), plan.end, None)
    if plan.deleted:
        client.delete_run(run_id)
    return run_id


def _model(client: MlflowClient, name: str, versions: list[tuple[bool, bool, str, str]], runs: list[str]) -> None:
    registry = client._get_registry_client().store
    for number, (gone, of_run, stage, description) in enumerate(versions, start=1):
        run = runs[0] if runs and of_run else None
        registry.create_model_version(name, f"gs://bucket/{number}", run, [], None, description)
        if stage != "None":
            registry.transition_model_version_stage(name, str(number), stage, False)
        registry.set_registered_model_alias(name, f"alias{number}", str(number))
        if gone and number < len(versions):
            registry.delete_model_version(name, str(number))
