"""What is read at once is bounded, and what is written keeps to the same bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import (
    EXPERIMENTS,
    LOGGED_MODELS,
    METRICS,
    MODELS,
    RUNS,
    UNNAMED,
    DatasetInput,
    Experiment,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
    Skipped,
)
from mlmeta.snapshot import bounds
from mlmeta.snapshot.bounds import excess
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.summaries import fitting
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.snapshot.writer import SnapshotWriter
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import NOW, commit, experiment, summary

PADDING = '"' + "x" * (1 << 20) + '"'
JSON = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('",{}[]:\\ \nä😀')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('",{\\')), inner),
)


@given(JSON, st.booleans())
def test_what_stands_in_strings_does_not_count(value: object, ascii_only: bool) -> None:
    """Counted as a parser would: the commas and braces outside of strings."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()

    def structure(value: object) -> tuple[int, int]:
        if isinstance(value, list | dict):
            inner = [structure(one) for one in (value.values() if isinstance(value, dict) else value)]
            own = max(len(value) - 1, 0), int(isinstance(value, dict))
            return own[0] + sum(c for c, _ in inner), own[1] + sum(b for _, b in inner)
        return 0, 0

    assert bounds._structure(text) == structure(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "SMALL", 3)
        assert bounds._structure(text) == structure(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" + ",".join("0" * 599_000) + f",{PADDING}]", ""),
        ("[" + ",".join("0" * 600_002) + f",{PADDING}]", "it has more than 600,000 values"),
        (f"[{PADDING}" + ",{}" * 149_000 + "]", ""),
        (f"[{PADDING}" + ",{}" * 150_001 + "]", "it has more than 150,000 objects"),
        ('["' + ",{" * 5_000_000 + '"]', ""),
        ('["\\"' + ",{" * 5_000_000 + '\\\\"]', ""),
        ('["' + "x" * (bounds.LINE - 4) + '"]', ""),
        ('["' + "x" * (bounds.LINE - 3) + '"]', "it has more than 25,165,824 bytes"),
    ],
)
def test_what_is_too_much(text: str, why: str) -> None:
    assert excess(text.encode()) == why


TOO_LONG = "x" * bounds.LINE
LEFT_OUT: dict[str, tuple[Record, tuple[str, str], set[str]]] = {
    "a run, with its histories": (
        Run(run_id="big", experiment_id="1", status="FINISHED", start_time=2, tags={"a": TOO_LONG}),
        ("run", "big"),
        {"experiment 1", "run small", "history small", "model m"},
    ),
    "an id that is a path": (
        Run(run_id="../big", experiment_id="1", status="FINISHED", start_time=2),
        ("run", "../big"),
        {"experiment 1", "run small", "history small", "model m"},
    ),
    "an experiment, with its runs": (
        Experiment(experiment_id="1", name="big", tags={"a": TOO_LONG}),
        ("experiment", "1"),
        {"model m"},
    ),
    "a model": (
        RegisteredModel(name="n", description=TOO_LONG),
        ("registered model", "n"),
        {"experiment 1", "run small", "history small", "model m"},
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_no_reader_would_take_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    big, named, kept = LEFT_OUT[name]
    small = Run(run_id="small", experiment_id="1", status="FINISHED", start_time=1)
    first = big if isinstance(big, Experiment) else Experiment(experiment_id="1", name="a")
    run = big if isinstance(big, Run) else None
    columns = {"step": [1], "timestamp": [1], "value": [1.0]}
    records: list[Record] = [first, small, MetricHistory(run_id="small", key="loss", **columns)]
    records += [run, MetricHistory(run_id=run.run_id, key="loss", **columns)] if run else []
    if isinstance(big, Experiment):
        records.append(
            LoggedModel(
                model_id="m-1",
                experiment_id="1",
                name="l",
                status="READY",
                creation_timestamp=1,
                last_updated_timestamp=1,
            )
        )
    records += [RegisteredModel(name="m", versions=(ModelVersion(version=1),))]
    records += [big] if isinstance(big, RegisteredModel) else []
    with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
        skipped = [one for record in records if (one := writer.add(record))]
        writer.commit(summary(skipped=tuple(skipped)))
    assert [(one.kind, one.id) for one in skipped] == [named]
    snapshot = open_snapshot(LocalStorage(tmp_path))
    assert verify_snapshot(snapshot) == []
    found = {f"experiment {one.experiment_id}" for one in snapshot.records(EXPERIMENTS)}
    found |= {f"run {one.run_id}" for one in snapshot.records(RUNS)}
    found |= {f"history {one.run_id}" for one in snapshot.records(METRICS)}
    found |= {f"model {one.name}" for one in snapshot.records(MODELS)}
    assert found == kept
    assert list(snapshot.records(LOGGED_MODELS)) == []
    assert snapshot.summary.stats["runs"] == len({one for one in kept if one.startswith("run ")})


def test_the_biggest_that_mlflow_takes_fits(tmp_path: Path) -> None:
    """A dataset's profile of 16 MiB that is JSON itself; a run with 60,000 metrics; a model with 20,000 versions."""
    profile = ('{"a,{": "b"},' * (1 << 21))[: (1 << 24) - 1]
    dataset = DatasetInput.model_validate({"dataset": {"name": "d", "digest": "1", "profile": profile}})
    metrics = {f"layer.{n}/loss": {"value": 0.5, "step": n, "timestamp": 1_700_000_000_000} for n in range(60_000)}
    versions = tuple(
        ModelVersion(version=n, creation_timestamp=1, source=f"s3://bucket/{n}", run_id="a" * 32, tags={"a": "b"})
        for n in range(1, 20_001)
    )
    records = [
        Experiment(experiment_id="1", name="a"),
        Run(run_id="r1", experiment_id="1", status="FINISHED", start_time=1, dataset_inputs=(dataset,)),
        Run.model_validate({"run_id": "r2", "experiment_id": "1", "status": "F", "start_time": 2, "metrics": metrics}),
        RegisteredModel(name="m", versions=versions),
    ]
    with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
        assert [writer.add(record) for record in records] == [None] * len(records)
        writer.commit(summary())
    assert verify_snapshot(open_snapshot(LocalStorage(tmp_path))) == []


@pytest.mark.parametrize(
    ("count", "reason", "named"), [(20_000, "500", 20_000), (20_001, "500", 20_000), (4_000, "ä\n" * 2_000, 345)]
)
def test_a_summary_names_what_there_is_room_for(tmp_path: Path, count: int, reason: str, named: int) -> None:
    skipped = tuple(Skipped(kind="run", id=f"{n:032}", reason=reason) for n in range(count))
    commit(LocalStorage(tmp_path), [experiment()], skipped=skipped, warnings=(reason,) * count)
    found = open_snapshot(LocalStorage(tmp_path)).summary
    assert found.skipped[:named] == skipped[:named]
    assert [(one.kind, one.id) for one in found.skipped[named:]] == (
        [(UNNAMED, f"{count - named:,} more")] if named < count else []
    )


def test_a_summary_that_fits_stays_as_it_is() -> None:
    assert fitting(summary()) == summary()
