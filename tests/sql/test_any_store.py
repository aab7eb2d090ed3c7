"""Stores of any content, made by Hypothesis."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import MODELS as MODELS_KIND
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
    Record,
    RegisteredModel,
    Row,
    Run,
    canonical,
    logged_model_order,
    run_order,
    to_records,
)
from mlmeta.stores.sql.restorer import SqlTarget
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import ALL, QUIET, assert_proven, backup, lines, records_of
from tests.support.examples import examples

INT64 = st.integers(-(2**63), 2**63 - 1)
TIME = st.integers(1, 2**53)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
MAYBE = st.none() | NAME
WORKSPACE = st.sampled_from([None, "team-a", "team-b"])
OFTEN = NAME | st.just("churn")
"""A name that several workspaces may have."""
TAGS = st.dictionaries(TEXT, TEXT, max_size=4)
STEP = st.integers(-2, 2) | INT64
# 0.0 and -0.0 at one step and time are one point for a database, infinities become the largest number: tested apart
VALUE = st.floats(allow_infinity=False).map(lambda value: value + 0.0)
POINTS = st.lists(st.tuples(STEP, STEP, VALUE), min_size=1, max_size=12).map(canonical)
DATASETS = st.lists(
    st.builds(
        DatasetInput,
        dataset=st.builds(
            Dataset, name=NAME, digest=NAME, source_type=MAYBE, source=MAYBE, schema_=MAYBE, profile=MAYBE
        ),
        tags=TAGS,
    ),
    max_size=2,
    unique_by=lambda used: (used.dataset.name, used.dataset.digest),
)


@st.composite
def runs(draw: Any, experiment_id: str, number: int) -> list[Record]:
    histories = draw(st.dictionaries(TEXT, POINTS, max_size=4))
    latest = {
        key: LatestMetric(step=step, timestamp=timestamp, value=value)
        for key, ((step, timestamp, value), *_) in ((k, p[::-1]) for k, p in histories.items())
    }
    run = draw(
        st.builds(
            Run,
            run_id=st.text("0123456789abcdef", min_size=20, max_size=20).map(lambda text: f"{text}{number:04}"),
            experiment_id=st.just(experiment_id),
            run_name=MAYBE,
            user_id=MAYBE,
            status=st.sampled_from(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]),
            lifecycle_stage=st.sampled_from(["active", "deleted"]),
            start_time=st.integers(0, 3) | INT64,
            end_time=st.none() | TIME,
            deleted_time=st.none() | TIME,
            artifact_uri=MAYBE,
            params=TAGS,
            tags=TAGS,
            metrics=st.just(latest),
            dataset_inputs=DATASETS if number % 10 == 0 else st.just(()),
            model_inputs=st.lists(st.builds(ModelInput, model_id=NAME), max_size=2, unique_by=lambda m: m.model_id),
            model_outputs=st.lists(
                st.builds(ModelOutput, model_id=NAME, step=STEP), max_size=2, unique_by=lambda m: m.model_id
            ),
        )
    )
    if not run.run_name and run.tags.get("mlflow.runName"):
        run = run.model_copy(update={"run_name": run.tags["mlflow.runName"]})
    longer = {key: points for key, points in histories.items() if len(points) > 1}
    return [run, *(r for key in sorted(longer) for r in to_records(run.run_id, key, longer[key]))]


@st.composite
def logged_models(draw: Any, experiment_id: str, number: int, run_ids: list[str]) -> LoggedModel:
    points = st.tuples(NAME, STEP, STEP, st.sampled_from(run_ids)) if run_ids else st.nothing()
    metrics = draw(st.dictionaries(points, st.tuples(VALUE, MAYBE, MAYBE), max_size=4)) if run_ids else {}
    return draw(
        st.builds(
            LoggedModel,
            model_id=st.just(f"m-{experiment_id}-{number}"),
            experiment_id=st.just(experiment_id),
            name=NAME,
            artifact_location=MAYBE,
            creation_timestamp=st.integers(0, 2) | INT64,
            last_updated_timestamp=INT64,
            status=st.sampled_from(["UNSPECIFIED", "PENDING", "READY", "FAILED"]),
            lifecycle_stage=st.sampled_from(["active", "deleted"]),
            model_type=MAYBE,
            source_run_id=MAYBE,
            status_message=MAYBE,
            params=TAGS,
            tags=TAGS,
            metrics=st.just(
                tuple(
                    LoggedModelMetric(
                        key=key,
                        step=step,
                        timestamp=timestamp,
                        run_id=run_id,
                        value=0.0 if math.isnan(value) else value,
                        dataset_name=name,
                        dataset_digest=digest,
                    )
                    for (key, step, timestamp, run_id), (value, name, digest) in metrics.items()
                )
            ),
        )
    )


VERSION = st.builds(
    ModelVersion,
    version=st.integers(1, 2**31 - 1),
    creation_timestamp=TIME,
    last_updated_timestamp=st.none() | TIME,
    user_id=MAYBE,
    current_stage=st.sampled_from(["None", "Staging", "Production", "Archived"]),
    description=MAYBE,
    source=MAYBE,
    run_id=MAYBE,
    run_link=MAYBE,
    status=st.sampled_from(["READY", "PENDING_REGISTRATION"]),
    status_message=MAYBE,
    storage_location=MAYBE,
    tags=TAGS,
)
MODELS = st.lists(
    st.builds(
        RegisteredModel,
        name=OFTEN,
        workspace=WORKSPACE,
        creation_timestamp=st.none() | TIME,
        last_updated_timestamp=st.none() | TIME,
        description=MAYBE,
        tags=TAGS,
        aliases=st.dictionaries(NAME, st.integers(1, 9), max_size=2),
        versions=st.lists(VERSION, max_size=3, unique_by=lambda v: v.version),
    ),
    max_size=3,
    unique_by=lambda model: (model.workspace, model.name),
).map(lambda models: sorted(models, key=MODELS_KIND.order))


@st.composite
def stores(draw: Any) -> list[Record]:
    experiments = draw(
        st.lists(
            st.builds(
                Experiment,
                experiment_id=st.integers(0, 2**31 - 1).map(str),
                workspace=WORKSPACE,
                name=OFTEN,
                artifact_location=MAYBE,
                lifecycle_stage=st.sampled_from(["active", "deleted"]),
                creation_time=st.none() | TIME,
                last_update_time=st.none() | TIME,
                tags=TAGS,
            ),
            max_size=3,
            unique_by=(lambda e: e.experiment_id, lambda e: (e.workspace, e.name)),
        )
    )
    experiments.sort(key=lambda e: int(e.experiment_id))
    records: list[Record] = [*experiments]
    for place, experiment in enumerate(experiments):
        found = [draw(runs(experiment.experiment_id, 10 * place + n)) for n in range(draw(st.integers(0, 3)))]
        records += [record for own in sorted(found, key=lambda own: run_order(own[0])) for record in own]
    for experiment in experiments:
        run_ids = [r.run_id for r in records if isinstance(r, Run) and r.experiment_id == experiment.experiment_id]
        logged = [draw(logged_models(experiment.experiment_id, n, run_ids)) for n in range(draw(st.integers(0, 3)))]
        records += sorted(logged, key=logged_model_order)
    return records + draw(MODELS)


@examples(60)
@given(records=stores())
def test_any_store_comes_back_equal(blank: Path, records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(blank, Path(folder) / "target.db"))
        uri = f"sqlite:///{path}"
        snapshot = snapshot_of(records, Path(folder) / "a")
        target = SqlTarget(uri)
        report = target.restore(snapshot, ALL, QUIET)
        assert not report.refused
        found = [record for record in records_of(uri) if not isinstance(record, Row)]  # MLflow's list of workspaces
        assert lines(found) == lines(records)
        assert_proven(uri, snapshot)
        assert target.restore(backup(uri, Path(folder) / "b"), ALL, QUIET).created == {}
