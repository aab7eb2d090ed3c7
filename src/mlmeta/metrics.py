"""What monitoring is told, in Prometheus's text format, and the file that node_exporter's textfile collector reads.

A file may tell of several jobs, each a command with a source and a storage: a run replaces what the file says of its
own job, and leaves the others alone. What a failed run can't know, such as the last success, stays as it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlmeta.errors import UsageError
from mlmeta.temporary import remove_half_made, write_whole
from mlmeta.visible import visible

SUFFIX = ".prom"
"""The collector reads files that end so, and a file that doesn't may be something else than metrics."""
JOB = ("command", "source", "storage")
"""Labels of every sample: they tell jobs apart."""
_MOST = 4 << 20
"""Bytes of a file that are looked at."""
_MODE = 0o644
"""The collector runs as another user."""
_PATIENCE = 5.0
"""Seconds to wait for another command that writes the same file."""


@dataclass(frozen=True)
class Metric:
    """A gauge.

    Args:
        name: with its unit at the end.
        help: what it is.
    """

    name: str
    help: str


@dataclass(frozen=True)
class Sample:
    """A value of a metric.

    Args:
        metric: which.
        value: in the unit that its name says.
        labels: names and values.
    """

    metric: Metric
    value: float
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def job(self) -> tuple[str, ...]:
        """The values of the labels `JOB`; empty where it has none."""
        labels = dict(self.labels)
        return tuple(labels.get(name, "") for name in JOB)


LAST_RUN = Metric("mlmeta_last_run_timestamp_seconds", "When the command last ended, whatever came of it.")
LAST_SUCCESS = Metric("mlmeta_last_success_timestamp_seconds", "When it last ended with exit code 0.")
EXIT_CODE = Metric("mlmeta_last_exit_code", "Exit code of the last run: 0 is success.")
DURATION = Metric("mlmeta_last_duration_seconds", "How long the last run took.")
LAST_SAVED = Metric(
    "mlmeta_last_saved_timestamp_seconds", "When the source was last saved, or found unchanged since it was."
)
SNAPSHOT_BYTES = Metric("mlmeta_snapshot_bytes", "Size of the last snapshot that was written.")
SNAPSHOT_RECORDS = Metric("mlmeta_snapshot_records", "How much of each kind the source had when it was last read.")
SNAPSHOT_SKIPPED = Metric("mlmeta_snapshot_skipped", "How much of it could not be saved, and nobody accepts that.")
LAST_DRILL = Metric("mlmeta_last_drill_timestamp_seconds", "When a trial restore last brought everything back.")
VERIFIED = Metric("mlmeta_verified_snapshots", "How many snapshots the last run checked.")
PROBLEMS = Metric("mlmeta_verify_problems", "How many problems it found.")
SNAPSHOTS = Metric("mlmeta_snapshots", "How many snapshots the storage had after the last run.")
PRUNED = Metric("mlmeta_pruned_snapshots", "How many snapshots the last run removed.")
PRUNED_BYTES = Metric("mlmeta_pruned_bytes", "How much space that freed.")
GUARD_READY = Metric("mlmeta_guard_ready", "Whether the command runs and has answered: 1 or 0.")
GUARD_LAG = Metric("mlmeta_guard_lag_seconds", "How long the oldest change has waited that is in no snapshot.")
GUARD_RPO = Metric("mlmeta_guard_rpo_seconds", "How long a change may wait.")
GUARD_EFFECTIVE_RPO = Metric(
    "mlmeta_guard_effective_rpo_seconds", "Within how long a change is saved, at the speed of the last save."
)
GUARD_FAILURES = Metric("mlmeta_guard_failed_saves", "How many saves have failed in a row.")
GUARD_EPOCH = Metric("mlmeta_guard_epoch", "Which of the guards of this store it is, by number; 0: it has none yet.")
GUARD_SUPERSEDED = Metric("mlmeta_guard_superseded", "Whether a later guard has taken over: 1 or 0.")

METRICS = {
    metric.name: metric
    for metric in (
        *(LAST_RUN, LAST_SUCCESS, EXIT_CODE, DURATION),
        *(LAST_SAVED, SNAPSHOT_BYTES, SNAPSHOT_RECORDS, SNAPSHOT_SKIPPED, LAST_DRILL),
        *(VERIFIED, PROBLEMS, SNAPSHOTS, PRUNED, PRUNED_BYTES),
        *(GUARD_READY, GUARD_LAG, GUARD_RPO, GUARD_EFFECTIVE_RPO, GUARD_FAILURES, GUARD_EPOCH, GUARD_SUPERSEDED),
    )
}
"""In the order of files."""


def text_of(samples: Iterable[Sample]) -> str:
    """Prometheus's text format, version 0.0.4: each metric once, with its samples below it."""
    found: dict[Metric, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.metric].append(sample)
    return "".join(_lines(metric, found[metric]) for metric in METRICS.values() if metric in found)


def _lines(metric: Metric, samples: Sequence[Sample]) -> str:
    head = f"# HELP {metric.name} {_escaped(metric.help)}\n# TYPE {metric.name} gauge\n"
    return head + "".join(f"{metric.name}{_labels(sample)} {_number(sample.value)}\n" for sample in samples)


def _labels(sample: Sample) -> str:
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    """A label's value, which somebody else may have chosen: without control characters, and UTF-8 in any case."""
    return _escaped(visible(text)).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


_SAMPLE = re.compile(r"(?P<name>mlmeta_\w+)(?:\{(?P<labels>.*)\})? (?P<value>[0-9.e+-]+)", re.ASCII)
_LABEL = re.compile(r'(?P<name>[a-z_]+)="(?P<value>(?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")


def samples_in(text: str) -> list[Sample]:
    """What a file says that `text_of` has written; lines that nobody understands any more are left out.

    Raises:
        ValueError: somebody else has written it, too.
    """
    found = []
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        if not line.startswith("mlmeta_"):
            raise ValueError(line)
        if (sample := _sample(line)) is not None:
            found.append(sample)
    return found


def _sample(line: str) -> Sample | None:
    match = _SAMPLE.fullmatch(line)
    metric = METRICS.get(match["name"]) if match else None
    if match is None or metric is None:
        return None
    labels, rest = [], match["labels"] or ""
    while rest:
        if (pair := _LABEL.match(rest)) is None:
            return None
        labels.append((pair["name"], _ESCAPE.sub(lambda one: "\n" if one[1] == "n" else one[1], pair["value"])))
        rest = rest[pair.end() :]
    try:
        value = float(match["value"])
    except ValueError:
        return None
    return Sample(metric, value, tuple(labels)) if math.isfinite(value) else None


def updated(before: Iterable[Sample], job: Mapping[str, str], fresh: Sequence[Sample]) -> list[Sample]:
    """What there is to tell after a run: of its metrics the new samples, of others those of before.

    Args:
        before: what was told before it, of this job and of others.
        job: the labels of this one.
        fresh: what the run gave, without these labels.
    """
    own = tuple(visible(job.get(name, "")) for name in JOB)  # as they come back from a file
    labels = tuple((name, value) for name, value in zip(JOB, own, strict=True) if value)
    replaced = {sample.metric for sample in fresh}
    kept = [sample for sample in before if sample.job != own or sample.metric not in replaced]
    return [*kept, *(replace(sample, labels=(*labels, *sample.labels)) for sample in fresh)]


def read_file(path: Path) -> list[Sample]:
    """What a file says; nothing where there is none.

    Raises:
        UsageError: it is not one of mlmeta's.
        OSError: it can't be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST + 1) if is_file else b""
    except FileNotFoundError:
        return []
    if not is_file or len(content) > _MOST:
        raise _not_ours(path)
    try:
        return samples_in(content.decode())
    except ValueError as error:
        raise _not_ours(path) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer


def _not_ours(path: Path) -> UsageError:
    return UsageError(f"{path} is not a file of mlmeta's metrics alone", hint="name another file, or remove this one")


def update_file(path: Path, job: Mapping[str, str], fresh: Sequence[Sample]) -> None:
    """Write what came of a run into a file: whoever reads it sees all of it, or what was there before.

    Args:
        path: of the file; its folder exists.
        job: the labels of the run.
        fresh: what it gave.

    Raises:
        UsageError: the file is not one of mlmeta's.
        OSError: it can't be read or written.
    """
    with _locked(path.parent):
        text = text_of(updated(read_file(path), job, fresh))
        remove_half_made(path)
        write_whole(path, text.encode(), mode=_MODE)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other commands from writing meanwhile, where the file system knows locks; for seconds at most."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(descriptor) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether there is nothing to wait for any more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True
