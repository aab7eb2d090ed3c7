"""What `prune` removes over simulated weeks, checked against rules that are written down anew, slow and plain.

The storage is in memory, and holds no data; all that `prune` does (listing, reading summaries, judging, removing) runs
as it is.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import BinaryIO

import pytest

from mlmeta.commands import prune as pruning
from mlmeta.commands.prune import prune
from mlmeta.schema import FileEntry, Summary
from mlmeta.snapshot import catalog
from mlmeta.snapshot.layout import SUMMARY, FileSet, file_name, timestamp_of
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import Storage, StoredFile
from tests.builders.snapshots import summary
from tests.storage.test_retention import oracle

WORLDS = 42
"""Storages a test; each is pruned a dozen times, by rules of its own each time."""
START = datetime(2025, 12, 20, 22, 30, tzinfo=timezone.utc)
SOURCES = (
    {"mlflow_uri": "http://a", "source_id": "http://a"},
    {"mlflow_uri": "http://b:5000/", "source_id": "http://b:5000"},
    {"mlflow_uri": "http://b:5000/"},  # of an older mlmeta: the same source
    {"mlflow_uri": "sqlite:///mlflow.db", "source_id": "sqlite:////srv/mlflow.db"},
    {"mlflow_uri": "sqlite:///mlflow.db"},  # of an older mlmeta: any store
    {"mlflow_uri": "http://c", "source_id": "http://c", "label": "prod"},
    {"mlflow_uri": "http://d", "source_id": "http://d", "label": "prod"},
)
STATS = {"experiments": 1, "runs": 4, "models": 1}
KINDS = ("experiments", "runs", "metrics", "models")
COUNTS = [one.name for one in fields(Rules) if one.name not in {"within", "tags"}]
USUAL, ODD = "sound", ("limited", "empty", "shrunken", "future", "damaged", "planted", "legacy", "no date")


@dataclass
class Memory:
    """A storage, perhaps with a clock of its own."""

    location: str = "memory"
    contents: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    keeps_time: bool = True

    def files(self) -> Iterator[StoredFile]:
        for name, (content, came) in list(self.contents.items()):
            yield StoredFile(name, len(content), came, created=came if self.keeps_time else None)

    def open(self, name: str, _most: int | None = None) -> BinaryIO:
        return io.BytesIO(self.contents[name][0])

    def remove(self, name: str) -> bool:
        del self.contents[name]
        return True

    def stale(self, _before: float) -> Iterator[StoredFile]:
        return iter(())


@dataclass(frozen=True)
class Made:
    """What is known of a snapshot that was put into a storage."""

    stamp: str
    kind: str
    experiments: tuple[str, ...]
    came: datetime
    source: dict[str, str]

    @cached_property
    def group(self) -> tuple[str, tuple[str, ...], bool]:
        return summary(**self.source).identity, self.experiments, self.kind in {"empty", "shrunken"}

    @cached_property
    def moment(self) -> datetime:
        return datetime.strptime(self.stamp, "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc)

    @property
    def came_in_time(self) -> bool:
        return timedelta(minutes=-5) <= self.came - self.moment <= timedelta(hours=1)

    def counts(self, now: datetime) -> bool:
        return self.kind not in {"damaged", "no date"} and self.moment <= now + timedelta(minutes=5)


class World:
    """A storage, its clock, and all that was put into it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.storage = Memory(keeps_time=self.random.random() < 0.6)
        self.now = START
        self.made: dict[str, Made] = {}
        self.sources = self.random.sample(SOURCES, self.random.randint(1, 4))

    def days(self) -> Iterator[str]:
        """Some weeks of backups, one of which is the last when a day ends: its timestamp."""
        for _ in range(12):
            for _ in range(self.random.choice((1, 1, 2, 4))):
                self.now += timedelta(seconds=self.random.choice((0, 1, 3000, 20000)))
                stamp = self.put(self.random.choice((USUAL, USUAL, *ODD)))
            yield stamp
            self.now += timedelta(days=self.random.choice((0, 1, 1, 2, 7, 30)))

    def put(self, kind: str) -> str:
        ahead = {"planted": -self.random.randint(2, 2000), "future": self.random.randint(1, 2000)}.get(kind, 0)
        moment = self.now + timedelta(hours=ahead)
        while (stamp := timestamp_of(moment)) in self.made:
            moment += timedelta(seconds=1)
        if kind == "no date":
            stamp = f"99{self.random.randint(0, 999999):06}_{self.now:%H%M%S}"
        source = {"mlflow_uri": "http://old"} if kind == "legacy" else self.random.choice(self.sources)
        experiments = self.random.choice((("x",), ("x", "y"))) if kind == "limited" else ()
        made = self.made[stamp] = Made(stamp, kind, experiments, self.now, source)
        for name, content in _files(made).items():
            self.storage.contents.setdefault(name, (content, self.now.timestamp()))
        return stamp

    def there(self) -> list[Made]:
        names = self.storage.contents
        return [made for stamp, made in self.made.items() if file_name(SUMMARY, stamp) in names]

    def rules(self) -> Rules:
        few = {name: self.random.choice((0, 0, 0, 1, 2, 5)) for name in COUNTS}
        found = Rules(**few, within=timedelta(days=self.random.choice((0, 0, 1, 10))))
        return found or Rules(last=self.random.randint(1, 3))

    def may_go(self, rules: Rules) -> set[str]:
        """What no rule keeps: of each group by itself, with and without what did not come in time."""
        counting = [made for made in self.there() if made.counts(self.now)]
        gone = set()
        for group in {made.group for made in counting}:
            members = [made for made in counting if made.group == group]
            timely = [made.stamp for made in members if made.came_in_time or not self.storage.keeps_time]
            stay = oracle([made.stamp for made in members], rules) | oracle(timely, rules)
            gone |= {made.stamp for made in members} - stay
        return gone


def _files(made: Made) -> dict[str, bytes]:
    data = {file_name(kind, made.stamp): b"[\n]\n" for kind in KINDS}
    if made.kind == "legacy":
        text = json.dumps({"backup_timestamp": made.stamp, "mlflow_uri": "http://old/", "stats": STATS}).encode()
        return {**data, file_name(SUMMARY, made.stamp): text}
    content = summary(
        **made.source,
        backup_timestamp=made.stamp,
        stats=dict.fromkeys(STATS, 0) if made.kind == "empty" else STATS,
        files={kind: _entry(kind, made.stamp) for kind in KINDS},
        experiments=made.experiments,
        shrunken="1 run where 20250101_000000 has 4" if made.kind == "shrunken" else "",
    )
    if made.kind == "damaged":
        data.popitem()
    return {**data, file_name(SUMMARY, made.stamp): content.to_bytes()}


def _entry(kind: str, stamp: str) -> FileEntry:
    return FileEntry(name=file_name(kind, stamp), bytes=4, records=0, sha256="0" * 64)


@contextmanager
def pruned_by(world: World) -> Iterator[None]:
    """`prune` meets this storage and its clock. A summary is read once only, as each would be every time."""
    read: dict[str, Summary] = {}
    genuine = catalog.read_summary

    def once(storage: Storage, files: FileSet) -> Summary:
        if files.timestamp not in read:
            read[files.timestamp] = genuine(storage, files)
        return read[files.timestamp]

    def now() -> float:
        return world.now.timestamp()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "open_storage", lambda _: world.storage)
        patch.setattr(pruning.time, "time", now)
        patch.setattr(catalog, "read_summary", once)
        yield


def removed(rules: Rules, spare: str = "", *, dry_run: bool = True) -> set[str]:
    return {one.timestamp for one in prune("", rules, spare=spare, dry_run=dry_run).snapshots if not one.keep}


@pytest.mark.parametrize("chunk", range(2))
def test_nothing_goes_that_any_rule_keeps(chunk: int) -> None:
    for seed in range(chunk * WORLDS, (chunk + 1) * WORLDS):
        world = World(seed)
        with pruned_by(world):
            for stamp in world.days():
                _day(world, stamp)


def _day(world: World, stamp: str) -> None:
    rules = world.rules()
    gone = world.may_go(rules) - {stamp}
    newest = {made.group: made.stamp for made in sorted(world.there(), key=_stamp) if made.counts(world.now)}
    assert gone.isdisjoint(newest.values())
    assert removed(rules, stamp) == gone
    name = world.random.choice(COUNTS)
    more = replace(rules, **{name: getattr(rules, name) + 1})
    assert removed(more, stamp) <= gone
    _nothing_is_displaced(world, rules, gone, stamp)
    assert removed(rules, stamp, dry_run=False) == gone
    assert gone.isdisjoint(made.stamp for made in world.there())
    assert removed(rules, stamp) == set()


def _stamp(made: Made) -> str:
    return made.stamp


def _nothing_is_displaced(world: World, rules: Rules, gone: set[str], spare: str) -> None:
    """Without all that does not count, no snapshot that does would stay any longer than it does with it."""
    real = {made.stamp for made in world.there() if made.kind in {USUAL, "limited"}}
    everything = dict(world.storage.contents)
    if not world.storage.keeps_time:  # there is no telling which are planted
        real |= {made.stamp for made in world.there() if made.kind == "planted"}
        real |= {made.stamp for made in world.there() if made.kind == "future"}
    world.storage.contents = {name: file for name, file in everything.items() if name[-20:-5] in real}
    assert gone & real <= removed(rules, spare)
    world.storage.contents = everything
