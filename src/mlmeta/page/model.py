"""What is on the page, as its scripts read it: columns instead of records, which pack well.

Times are milliseconds since the epoch, UTC. NaN and the infinities are strings, as in a snapshot.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mlmeta.schema import Skipped
from mlmeta.snapshot.compare import Change, Tally

Goal = Literal["min", "max"]
"""Whether less of a metric is better, or more."""


class Data(BaseModel):
    """Base of all that is on the page."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", protected_namespaces=())


class Command(Data):
    """Something to type.

    Args:
        what: what it does.
        command: for a shell.
    """

    what: str
    command: str


class Texts(Data):
    """A param or tag of some runs.

    Args:
        key: its name.
        at: which runs have it, by their place; None: all.
        words: the different values.
        of: of each run that has it, which of the words is its value.
    """

    key: str
    at: list[int] | None
    words: list[str]
    of: list[int]


class Metric(Data):
    """A metric of some runs: the latest value of each.

    Args:
        key: its name.
        goal: what is better.
        at: which runs have it, by their place; None: all.
        values: of each run that has it.
    """

    key: str
    goal: Goal
    at: list[int] | None
    values: list[float | int]


class UsedDataset(Data):
    """A dataset that a run used; `run`: its place."""

    run: int
    name: str
    digest: str
    context: str


class MadeModel(Data):
    """A logged model that a run made or used; `run`: its place."""

    run: int
    model_id: str
    name: str
    is_input: bool


class Runs(Data):
    """Runs of an experiment, the oldest first, in columns.

    Args:
        parent: the id of the run that each is within; empty: of none.
        metrics: the one that tells most of an experiment first.
    """

    id: list[str]
    name: list[str]
    user: list[str]
    status: list[str]
    deleted: list[bool]
    start: list[int | None]
    end: list[int | None]
    parent: list[str]
    params: list[Texts]
    metrics: list[Metric]
    tags: list[Texts]
    datasets: list[UsedDataset]
    models: list[MadeModel]


class ExperimentPage(Data):
    """An experiment; `total`: how many runs it has in the snapshot."""

    id: str
    name: str
    workspace: str
    is_deleted: bool
    created: int | None
    tags: dict[str, str]
    total: int
    runs: Runs


class VersionPage(Data):
    """A version of a registered model."""

    version: int
    stage: str
    status: str
    created: int | None
    description: str
    source: str
    run_id: str
    tags: dict[str, str]


class ModelPage(Data):
    """A registered model, or a prompt; `aliases` maps each to a version."""

    name: str
    workspace: str
    is_prompt: bool
    description: str
    created: int | None
    updated: int | None
    tags: dict[str, str]
    aliases: dict[str, int]
    versions: list[VersionPage]


class Difference(Data):
    """What changed since an earlier snapshot.

    Args:
        before: its timestamp.
        records: how many of each kind.
        changes: the first of them.
        total: how many there are.
    """

    before: str
    records: dict[str, Tally]
    changes: list[Change]
    words: list[tuple[str, str]]
    total: int


class Backup(Data):
    """A snapshot among those of its source; `taken`: None where its timestamp is not a date."""

    timestamp: str
    taken: int | None
    state: str
    problem: str
    size: int
    stats: dict[str, int]


class About(Data):
    """The snapshot that the page is about.

    Args:
        state: `complete`, or why not, in one word.
        problem: the same in a sentence.
        gaps: what the source had and the snapshot lacks, and nobody accepts to be missing.
        accepted: the same, accepted.
        limits: what it was limited to, in sentences.
        notes: what else a person should know.
    """

    timestamp: str
    taken: int | None
    storage: str
    source: str
    source_kind: str
    label: str
    tags: dict[str, str]
    state: str
    problem: str
    gaps: list[Skipped]
    accepted: list[Skipped]
    limits: list[str]
    notes: list[str]
    stats: dict[str, int]
    counts: list[tuple[int, str]]
    size: int
    point_in_time: bool
    mlflow_version: str
    mlmeta_version: str


class PageData(Data):
    """All but the curves.

    Args:
        written: when the page was written.
        by: the version of mlmeta that wrote it.
        digits: significant digits of values, where they were rounded; 0: they were not.
        left_out: sentences about what the page lacks of the snapshot.
        changes: None: there is no earlier snapshot to compare with, or it can't be read.
        backups: the snapshots of this source, the newest first.
    """

    written: int
    by: str
    about: About
    restore: list[Command]
    experiments: list[ExperimentPage]
    models: list[ModelPage]
    changes: Difference | None
    backups: list[Backup]
    digits: int
    left_out: list[str]


class Curve(Data):
    """The history of a metric of a run, with as many points as can be seen.

    Args:
        run: its id.
        key: the metric.
        step: the first, and the distance of each further one to that before.
        value: at each of these steps.
        total: how many points the history has.
        odd: how many of those are NaN or infinite.
    """

    run: str
    key: str
    step: list[int]
    value: list[float | int]
    total: int
    odd: int


class CurveData(Data):
    """The curves; `left_out`: of how many histories the page has none, to stay small."""

    curves: list[Curve]
    left_out: int
