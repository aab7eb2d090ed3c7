"""The two sides of a comparison: snapshots, or a store as it is now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from mlmeta.commands.previous import read_along
from mlmeta.errors import UsageError
from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, LoggedModel, Selection, Skipped
from mlmeta.schema.identity import canonical, is_vague
from mlmeta.snapshot.diff import Blind, Item
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.snapshot.walking import with_histories
from mlmeta.stores.opening import DATABASES
from mlmeta.stores.source import UNSHOWN_BY_API, Source


@dataclass(frozen=True)
class Side:
    """One of the two.

    Args:
        shown: a snapshot's timestamp, or a store's address without credentials.
        kind: of the store that it tells of, such as ``server``.
        uri: of that store, without credentials.
        identity: which store that is, whatever text named it; empty: the text is used.
        limit: names of the experiments that it is limited to; empty: it has all.
        unsaved: how many things could not be saved.
        legacy: whether an older script made it.
        unread: what could not be read, once `items` were.
        names: gives the names of its experiments.
        items: gives what it has of a selection, in a snapshot's order.
    """

    shown: str
    kind: str
    uri: str
    identity: str
    names: Callable[[], set[str]]
    items: Callable[[Selection], Iterator[Item]]
    limit: frozenset[str] = frozenset()
    unsaved: int = 0
    legacy: bool = False
    unread: list[Skipped] = field(default_factory=list)

    @property
    def is_database(self) -> bool:
        """Whether it tells of what MLflow's API does not show."""
        return self.kind in DATABASES


def of_snapshot(snapshot: Snapshot) -> Side:
    """A snapshot as a side."""

    def items(selection: Selection) -> Iterator[Item]:
        part = Selected(snapshot, selection)
        return chain(part.experiments(), part.runs_with_lines(), part.logged_models(), part.models())

    summary = snapshot.summary
    return Side(
        shown=snapshot.timestamp,
        kind=summary.source_kind,
        uri=summary.mlflow_uri,
        identity=summary.source_id or summary.identity,
        names=cache(lambda: {record.name for record in snapshot.records(EXPERIMENTS)}),
        items=items,
        limit=frozenset(summary.experiments),
        unsaved=sum(skipped.is_of_records for skipped in summary.skipped),
        legacy=snapshot.is_legacy,
    )


def of_store(source: Source, identity: str, progress: Progress, base: Snapshot | None = None) -> Side:
    """A store as it is now, as a side.

    Args:
        source: that reads it.
        identity: see `stores.identity_of`.
        progress: told how far reading is.
        base: a snapshot of all that will be read, to take histories from that can't have changed.
    """
    unread: list[Skipped] = []

    def items(selection: Selection) -> Iterator[Item]:
        for item in with_histories(read_along(source, selection, base, progress)):
            if not isinstance(item, Skipped):
                yield item
            elif item.is_of_records:
                unread.append(item)

    info = source.info
    return Side(
        shown=info.uri,
        kind=info.kind,
        uri=info.uri,
        identity=identity,
        names=cache(source.experiment_names),
        items=items,
        unread=unread,
    )


def common(before: Side, after: Side, experiments: Iterable[str]) -> frozenset[str]:
    """The names of the experiments to compare; empty: all.

    Args:
        before: one side.
        after: the other.
        experiments: that were asked for; empty: all that both sides cover.

    Raises:
        UsageError: there is none.
    """
    hint = "`mlmeta show` names the experiments of a snapshot"
    limits = [limit for limit in (frozenset(experiments), before.limit, after.limit) if limit]
    if not limits:
        return frozenset()
    wanted = frozenset.intersection(*limits)
    if not wanted:
        raise UsageError("none of the given experiments is covered by both sides", hint=hint)
    if unknown := wanted - before.names() - after.names():
        raise UsageError(f"neither side has an experiment {', '.join(map(repr, sorted(unknown)))}", hint=hint)
    return wanted


def parts(before: Side, after: Side, wanted: frozenset[str]) -> list[Iterator[Item]]:
    """What each side has to say of these experiments (none: of all), as far as the other can know it."""
    found = [_part(side, wanted) for side in (before, after)]
    return [filter(_is_shown_by_api, part) for part in found] if before.is_database != after.is_database else found


def _part(side: Side, wanted: frozenset[str]) -> Iterator[Item]:
    if not wanted:
        return side.items(Selection())
    there = wanted & side.names()
    return side.items(Selection(tuple(sorted(there)))) if there else iter(())


def _is_shown_by_api(item: Item) -> bool:
    return not (isinstance(item, LoggedModel) and item.lifecycle_stage == "deleted")


def blind(before: Side, after: Side) -> Blind:
    """What the two can't be compared in."""
    fields = UNSHOWN_BY_API if before.is_database != after.is_database else ()
    return Blind(frozenset(fields), before.legacy, after.legacy)


def _are_two(before: Side, after: Side) -> bool:
    """Whether they tell of two stores; where an older snapshot can't say, the texts decide."""
    if is_vague(before.identity) or is_vague(after.identity):
        return canonical(before.uri) != canonical(after.uri)
    return before.identity != after.identity


def cautions(before: Side, after: Side, *, differ: bool) -> Iterator[str]:
    """What a person should know who reads what changed.

    Args:
        before: one side.
        after: the other.
        differ: whether anything changed.
    """
    for side in (before, after):
        if side.unsaved:
            yield f"{side.unsaved} things could not be saved in {side.shown}, and may appear to be missing"
        if side.legacy:
            yield f"an older script wrote {side.shown}: it has no metric histories and no aliases to compare"
    if differ and _are_two(before, after):
        yield f"these are two different stores, {before.uri} and {after.uri}: with new ids, every run differs"
