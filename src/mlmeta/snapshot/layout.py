"""Names of a snapshot's files, and its timestamp.

A snapshot is a set of files that share a timestamp: ``<kind>_<timestamp>.json``, flat in the storage.
The script that mlmeta replaces put them under ``<timestamp>/`` in a bucket; that is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from mlmeta.storage import StoredFile

SUMMARY = "backup_summary"
COMPRESSED = ".gz"
_FORMAT = "%Y%m%d_%H%M%S"
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", re.ASCII)
_NAME = re.compile(
    r"(?:(?P<folder>\d{8}_\d{6})/)?(?P<kind>[a-z][a-z_]*?)_(?P<timestamp>\d{8}_\d{6})\.json(?:\.gz)?", re.ASCII
)


def file_name(kind: str, timestamp: str, *, compressed: bool = False) -> str:
    """The name of a snapshot's file of one kind."""
    return f"{kind}_{timestamp}.json{COMPRESSED if compressed else ''}"


def timestamp_of(moment: datetime) -> str:
    """The timestamp for a moment (aware)."""
    return moment.astimezone(timezone.utc).strftime(_FORMAT)


def moment_of(timestamp: str) -> datetime | None:
    """The moment (UTC) a timestamp names, or None where its digits are not a date."""
    match = _MOMENT.fullmatch(timestamp)  # `strptime` would take ten times as long, and a list has thousands
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None


def next_timestamp(timestamp: str) -> str:
    """The timestamp one second later."""
    moment = moment_of(timestamp)
    if moment is None:
        raise ValueError(f"{timestamp} is not a timestamp")
    return timestamp_of(moment + timedelta(seconds=1))


@dataclass
class FileSet:
    """The files in a storage that share a timestamp.

    Args:
        timestamp: ``YYYYMMDD_HHMMSS``.
        files: the stored files by kind; the summary's kind is `SUMMARY`.
        doubles: further files of these kinds: in the older layout, or compressed beside one that is not.
        odd: what has the name of one of its files and is not one: a link, a folder.
    """

    timestamp: str
    files: dict[str, StoredFile] = field(default_factory=dict)
    doubles: list[StoredFile] = field(default_factory=list)
    odd: list[StoredFile] = field(default_factory=list)

    @property
    def summary(self) -> StoredFile | None:
        """The commit marker, if there is one."""
        return self.files.get(SUMMARY)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.all)

    @property
    def all(self) -> list[StoredFile]:
        """Every file, the summary first if there is one."""
        data = [file for kind, file in self.files.items() if kind != SUMMARY]
        return [*([self.summary] if self.summary else []), *data, *self.doubles]

    def find(self, name: str) -> StoredFile | None:
        """The file of this very name."""
        return next((file for file in self.all if file.name == name), None)


def group(files: Iterable[StoredFile]) -> list[FileSet]:
    """Files by timestamp, newest first. Files with other names are not ours and are left out.

    Of several files of a kind, the one that came first wins, where the storage has a clock of its own: who may only
    create can put none in the place of another. Then flat names win over the older layout, and plain ones over
    compressed ones.
    """
    sets: dict[str, FileSet] = {}
    for file in sorted(files, key=lambda file: (file.created or 0, "/" in file.name, file.name)):
        match = _NAME.fullmatch(file.name)
        if match is None or match["folder"] not in {None, match["timestamp"]}:
            continue
        found = sets.setdefault(match["timestamp"], FileSet(match["timestamp"]))
        if file.problem:
            found.odd.append(file)
        elif found.files.setdefault(match["kind"], file) is not file:
            found.doubles.append(file)
    return sorted(sets.values(), key=lambda s: s.timestamp, reverse=True)
