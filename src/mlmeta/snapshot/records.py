"""Data files: a JSON array with one record on each line.

Valid JSON as a whole, and readable line by line: ``[`` on the first line, ``]`` on the last, records in
between, separated by a comma at the line's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from mlmeta.errors import DamagedSnapshotError
from mlmeta.redaction import cut
from mlmeta.schema import HistoryLine, Kind, Line, MetricHistory, Record, kind_of
from mlmeta.schema.kind import R
from mlmeta.snapshot import bounds

_ID = re.compile(r"[^\x00-\x1f\x7f/\\]{1,256}")
OPENING = b"["
SEPARATOR = b",\n"
FIRST = b"\n"
CLOSING = b"\n]\n"


def parse_lines(lines: Iterable[bytes], record: type[R], name: str) -> Iterator[R]:
    """The records of a data file.

    Args:
        lines: the file's lines.
        record: the class of its records.
        name: the file's name, for errors.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is not such a record.
    """
    for number, text in record_lines(lines, name):
        yield parse_record(text, record, f"{name}, line {number}")


def inspect_lines(
    lines: Iterable[bytes], record: type[R], name: str
) -> Iterator[tuple[R, bytes] | DamagedSnapshotError]:
    """Like `parse_lines`, each record with its JSON. A line that is not such a record comes as the error it is.

    Raises:
        DamagedSnapshotError: the file is cut.
    """
    for number, text in record_lines(lines, name):
        try:
            yield parse_record(text, record, f"{name}, line {number}"), text
        except DamagedSnapshotError as error:
            yield error


def record_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """The JSON of each record of a data file, with the number of its line.

    Args:
        lines: the file's lines; of one that is too long, more than a line may have.
        name: the file's name, for errors.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is too long.
    """
    numbered = enumerate(lines, start=1)
    if next(numbered, (0, b""))[1].strip() != OPENING:
        raise damaged(name, 1, "the opening bracket is missing")
    for number, line in numbered:
        if why := bounds.excess(line):
            raise damaged(name, number, why)
        text = line.strip().removesuffix(b",")
        if text == b"]":
            return
        if not text:  # no end of them can come out of a few compressed bytes
            raise damaged(name, number, "it is empty")
        yield number, text
    raise damaged(name, None, "the file is cut off: its closing bracket is missing")


def parse_history_lines(lines: Iterable[bytes], name: str) -> Iterator[HistoryLine]:
    """The metric histories of a data file, not taken apart.

    Args:
        lines: the file's lines.
        name: the file's name, for errors.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is not a metric history.
    """
    for number, text in record_lines(lines, name):
        try:
            yield HistoryLine.of(text)
        except ValueError as error:
            raise damaged(name, number, "it is not a metric history") from error


def parse_record(text: bytes, record: type[R], where: str) -> R:
    """One record.

    Raises:
        DamagedSnapshotError: it is not JSON, or not what the schema says.
    """
    try:
        found = record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise damaged(where, None, f"{field + ': ' if field else ''}{first['msg']}") from error
    if why := misnamed(kind_of(found), found):
        raise damaged(where, None, why)
    return found


def taken_apart(line: HistoryLine) -> MetricHistory:
    """A metric history from its line.

    Raises:
        DamagedSnapshotError: it is not one.
    """
    return parse_record(line.line, MetricHistory, f"the history of {line.key[:200]!r} of run {line.run_id[:100]}")


def misnamed(kind: Kind[Record], record: Line) -> str:
    """Why a record has an id that no store has: empty, or with what would be a path or a control character."""
    if not kind.has_id or _ID.fullmatch(name := kind.key(record)):
        return ""
    return f"{cut(name, 100)!r} is not an id of a {kind.one}"


def damaged(name: str, line: int | None, what: str) -> DamagedSnapshotError:
    """The error for a data file that can't be trusted."""
    where = f"{name}, line {line}" if line else name
    return DamagedSnapshotError(
        f"{where} is damaged: {what}",
        hint="run `mlmeta verify` to see everything that is wrong, or use another snapshot (`mlmeta list`)",
    )
