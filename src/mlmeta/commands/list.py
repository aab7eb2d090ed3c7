"""`mlmeta list`: the snapshots of a storage, or those of a source, or with a tag."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from mlmeta.commands.result import Result
from mlmeta.notebook import Cell, Row
from mlmeta.schema import several
from mlmeta.schema.summary import has_tag
from mlmeta.schema.words import amount, counts
from mlmeta.snapshot.catalog import SnapshotInfo, glance, ignored
from mlmeta.snapshot.find import of_source as those_of
from mlmeta.snapshot.layout import group
from mlmeta.storage import Location, open_storage
from mlmeta.stores.opening import which


class ListResult(Result):
    """The snapshots of a storage, newest first, the unreadable and half-written ones included.

    Args:
        storage: where they are.
        snapshots: those that were asked for.
        total: how many there are of them, before the limit.
    """

    storage: str
    snapshots: tuple[SnapshotInfo, ...]
    total: int = 0

    is_report: ClassVar[bool] = False

    @property
    def headline(self) -> str:
        """How many, and where."""
        return f"{amount(len(self.snapshots), 'snapshots')} in {self.storage}"

    def entries(self) -> Iterator[Row]:
        """Each snapshot, the newest first."""
        for one in self.snapshots:
            source = f"{one.label} ({one.source})" if one.label else one.source
            about: dict[str, Cell] = {"source": source, "holds": counts(one.stats), "bytes": one.size}
            yield {"snapshot": one.timestamp, **about, "state": one.state.value, "problem": one.problem}


def list_snapshots(
    storage: Location = "backups",
    *,
    of_source: Location = "",
    tags: str | Sequence[str] = (),
    limit: int | None = None,
) -> ListResult:
    """The snapshots of a storage, newest first.

    Args:
        storage: a folder or ``gs://bucket/prefix``.
        of_source: label or tracking URI: only snapshots of that source; empty: of all.
        tags: a tag that they have, ``KEY`` or ``KEY=VALUE``, or several that they all have; none: whatever they have.
        limit: only so many, the newest; None: all.

    Raises:
        StorageMissingError: there is no such storage.
        SnapshotNotFoundError: it has snapshots, and none of that source.
        StorageError: it can't be read.
    """
    place = open_storage(storage)
    now = time.time()
    files = list(place.files())
    sets, wanted = [one for one in group(files) if one.files], several(tags)
    if not of_source and not wanted:  # what is not shown need not be read
        shown = tuple(glance(place, one, now) for one in sets[:limit])
        return ListResult(
            storage=place.location, snapshots=shown, total=len(sets), warnings=tuple(ignored(place, files))
        )
    infos = [glance(place, one, now) for one in sets]
    found = [
        info for info in those_of(infos, which(of_source), place) if all(has_tag(info.tags, tag) for tag in wanted)
    ]
    return ListResult(
        storage=place.location,
        snapshots=tuple(found[:limit]),
        total=len(found),
        warnings=(*ignored(place, files), *_unknown(infos)),
    )


def _unknown(infos: Sequence[SnapshotInfo]) -> Iterator[str]:
    """How many can't say whether they are meant."""
    if count := sum(not info.identity for info in infos):
        yield f"{count:,} whose summary is missing or can't be read are not shown: `mlmeta list` by itself shows them"
