"""Summaries: read within bounds, and believed only as far as they can be true.

Whoever may write into a storage may write a summary, with a checksum that is right. So it names files only in the one
form that there is, and nothing is opened because a summary says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from mlmeta.errors import ObjectRefusedError, StorageError, UnsupportedSchemaError
from mlmeta.redaction import cut
from mlmeta.schema import KINDS, LAST_EPOCH, SCHEMA_VERSION, UNNAMED, FileEntry, Skipped, Summary, summary_is_intact
from mlmeta.schema.summary import Acceptance
from mlmeta.schema.words import amount
from mlmeta.snapshot import bounds, layout, legacy
from mlmeta.snapshot.records import damaged
from mlmeta.storage import Storage

_NEVER_LEGACY = {"checksum", "mlmeta_version"}
"""Keys of a summary that the older script never wrote."""
_VERSION = re.compile(r"([0-9]{1,6})(?:\.[0-9]{1,6}){0,2}")
_KIND = re.compile(r"[a-z][a-z_]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = (1 << 63) - 1
_NO_DATE = "its timestamp is not a date"
_NAMED = 20_000
"""Things that could not be saved, or warnings, that a summary names; of more, it says how many."""

T = TypeVar("T")


def read_summary(storage: Storage, files: layout.FileSet) -> Summary:
    """A snapshot's summary; of a legacy snapshot, one made from what its own says.

    Raises:
        DamagedSnapshotError: it is cut, altered, not JSON, or names what can't be a file of this snapshot.
        UnsupportedSchemaError: a newer major version wrote it.
        StorageError: it can't be read.
    """
    return parse_summary(summary_text(storage, files), files)


def summary_text(storage: Storage, files: layout.FileSet) -> bytes:
    """The content of a snapshot's summary.

    Raises:
        DamagedSnapshotError: there is none, or it is not a file, or too big.
        StorageError: it can't be read.
    """
    if files.summary is None:
        raise damaged(layout.file_name(layout.SUMMARY, files.timestamp), None, "it is missing")
    name = files.summary.name
    try:
        with storage.open(name, bounds.SUMMARY) as file:
            content = file.read(bounds.SUMMARY + 1)
    except ObjectRefusedError as error:
        raise damaged(name, None, str(error)) from error
    except OSError as error:
        raise StorageError(
            f"{name}: {error}", hint="`mlmeta list` shows the snapshots that are complete; check the disk"
        ) from error
    if why := bounds.excess(content, bounds.SUMMARY):
        raise damaged(name, None, why)
    return content


def parse_summary(content: bytes, files: layout.FileSet) -> Summary:
    """The summary that a text is.

    Args:
        content: of the summary's file.
        files: all files of its snapshot.

    Raises:
        SnapshotError: see `read_summary`.
    """
    name = files.summary.name if files.summary else layout.file_name(layout.SUMMARY, files.timestamp)
    fields = _object(content, name)
    if "schema_version" not in fields:
        if not _NEVER_LEGACY.isdisjoint(fields):  # one altered byte in that key must not make it an older snapshot
            raise damaged(name, None, "it is not what was written: it names no schema version")
        if layout.moment_of(files.timestamp) is None:
            raise damaged(name, None, _NO_DATE)
        return legacy.summary(fields, files)
    _must_be_readable(fields["schema_version"], name)
    if not summary_is_intact(content):
        raise damaged(name, None, "it is not what was written: its checksum differs")
    try:
        summary = Summary.model_validate(fields)
    except ValidationError as error:
        raise damaged(name, None, str(error.errors(include_url=False)[0]["msg"])) from error
    for why in untrue(summary, files.timestamp):
        raise damaged(name, None, why)
    return summary


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        from_json(content)  # it has bounds for depth and digits, and takes no half surrogates
        fields = json.loads(content, object_pairs_hook=_each_once)
    except ValueError as error:
        raise damaged(name, None, f"it is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise damaged(name, None, "it is not a JSON object")
    return fields


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key appears twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _must_be_readable(version: object, name: str) -> None:
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if found is None:
        raise damaged(name, None, "its schema version is not a version")
    if int(found[1]) > int(SCHEMA_VERSION.partition(".")[0]):
        raise UnsupportedSchemaError(
            f"{name} has schema version {version}; this mlmeta reads up to {SCHEMA_VERSION.partition('.')[0]}.x",
            hint="install a newer mlmeta",
        )


def fitting(summary: Summary) -> Summary:
    """A summary that can be read: what could not be saved is named as far as there is room, and the rest is counted."""
    accepted = summary.accepted
    skipped = _first(summary.skipped, lambda one: len(one.model_dump_json()))
    warnings = _first(summary.warnings, len)
    if len(skipped) < len(summary.skipped):
        rest = summary.skipped[len(skipped) :]
        if not Acceptance(accepted).gaps(rest):
            accepted += (UNNAMED,)
        skipped += (Skipped(kind=UNNAMED, id=f"{len(rest):,} more", reason="there is no room for their names"),)
    if len(warnings) < len(summary.warnings):
        warnings += (amount(len(summary.warnings) - len(warnings), "more warnings"),)
    return summary.model_copy(update={"skipped": skipped, "warnings": warnings, "accepted": accepted})


def _first(items: tuple[T, ...], size: Callable[[T], int]) -> tuple[T, ...]:
    """As many as there is room for."""
    room = bounds.SUMMARY // 8  # as JSON, a letter can take six bytes
    for count, item in enumerate(items[:_NAMED]):
        room -= size(item)
        if room < 0:
            return items[:count]
    return items[:_NAMED]


def untrue(summary: Summary, timestamp: str) -> Iterator[str]:
    """What a summary says that can't be.

    Args:
        summary: not one of the older script.
        timestamp: of the snapshot, by the names of its files.
    """
    if summary.backup_timestamp != timestamp:
        yield f"it is the summary of {cut(summary.backup_timestamp, 40)!r}"
    if layout.moment_of(timestamp) is None:
        yield _NO_DATE
    if not 0 <= summary.epoch <= LAST_EPOCH:
        yield f"its epoch is {cut(str(summary.epoch), 20)}"
    for epoch, included in summary.includes.items():
        if not 1 <= epoch <= LAST_EPOCH or layout.moment_of(included) is None:
            yield f"it includes {cut(included, 40)!r} of epoch {cut(str(epoch), 20)}"
    for kind, entry in summary.files.items():
        if why := _untrue_entry(kind, entry, timestamp):
            yield f"its entry for {cut(kind, 40)!r} is invalid: {why}"
    yield from _untrue_counts(summary)


def _untrue_counts(summary: Summary) -> Iterator[str]:
    for kind, count in summary.stats.items():
        if not 0 <= count <= _MOST:
            yield f"its count of {cut(kind, 40)!r} is {cut(str(count), 20)}"
    for table, count in summary.tables.items():
        if not 0 <= count <= _MOST:
            yield f"its count of rows of {cut(table, 40)!r} is {cut(str(count), 20)}"
    for kind, known in KINDS.items():
        if kind not in summary.files and (known.always or summary.stats.get(kind)):
            yield f"it names no file of {kind}, but counts {summary.stats.get(kind, 0)}"


def _untrue_entry(kind: str, entry: FileEntry, timestamp: str) -> str:
    if kind == layout.SUMMARY or not _KIND.fullmatch(kind):
        return "there is no such kind of data"
    if entry.name not in {layout.file_name(kind, timestamp, compressed=packed) for packed in (False, True)}:
        return f"{cut(entry.name, 100)!r} is not the name of such a file"
    if not (0 <= entry.bytes <= _MOST and 0 <= entry.records <= entry.bytes):
        return "its size or number of records is impossible"
    if not _SHA256.fullmatch(entry.sha256):
        return "it has no checksum"
    return ""
