"""Data files: a JSON array with one record on each line.

Valid JSON as a whole, and readable line by line: ``[`` on the first line, ``]`` on the last, records in
between, separated by a comma at the line's end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from mlmeta.errors import DamagedSnapshotError, InternalError
from mlmeta.redaction import cut
from mlmeta.schema import FollowerLine, Kind, Line, Record, kind_of
from mlmeta.schema.kind import R
from mlmeta.snapshot import bounds

_ID = re.compile(r"[^\x00-\x1f\x7f/\\]{1,256}")
OPENING = b"["
SEPARATOR = b",\n"
FIRST = b"\n"
CLOSING = b"\n]\n"


def parse_lines(lines: Iterable[bytes], kind: Kind[R], name: str) -> Iterator[R]:
    """The records of a data file.

    Args:
        lines: the file's lines.
        kind: of its records.
        name: the file's name, for errors.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is not such a record.
    """
    for number, text in record_lines(lines, name, bounds.of(kind)):
        yield parse_record(text, kind.record.model_validate_json, name, number)


def inspect_lines(
    lines: Iterable[bytes], kind: Kind[Any], name: str
) -> Iterator[tuple[Any, bytes] | DamagedSnapshotError]:
    """Records to be checked, each with its JSON. A line that is not such a record comes as the error it is.

    Raises:
        DamagedSnapshotError: the file is cut.
    """
    parse = kind.checked or kind.record.model_validate_json
    for number, text in record_lines(lines, name, bounds.of(kind)):
        try:
            yield parse_record(text, parse, name, number), text
        except DamagedSnapshotError as error:
            yield error


def record_lines(lines: Iterable[bytes], name: str, most: int = bounds.LINE) -> Iterator[tuple[int, bytes]]:
    """The JSON of each record of a data file, with the number of its line.

    Args:
        lines: the file's lines; of one that is too long, more than a line may have.
        name: the file's name, for errors.
        most: bytes that a line may have.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is too long.
    """
    numbered = enumerate(lines, start=1)
    if next(numbered, (0, b""))[1].strip() != OPENING:
        raise damaged(name, 1, "the opening bracket is missing")
    for number, line in numbered:
        if why := bounds.excess(line, most):
            raise damaged(name, number, why)
        text = line[:-2] if line.startswith(b"{") and line.endswith(SEPARATOR) else line.strip().removesuffix(b",")
        if text == b"]":
            return
        if not text:  # no end of them can come out of a few compressed bytes
            raise damaged(name, number, "it is empty")
        yield number, text
    raise damaged(name, None, "the file is cut off: its closing bracket is missing")


def split_lines(lines: Iterable[bytes], kind: Kind[Any], name: str) -> Iterator[Any]:
    """The records of a data file whose kind follows another, not taken apart.

    Args:
        lines: the file's lines.
        kind: of the records.
        name: the file's name, for errors.

    Raises:
        DamagedSnapshotError: the file is cut, or a line is not such a record.
    """
    for number, text in record_lines(lines, name, bounds.of(kind)):
        try:
            yield as_line(kind, text)
        except ValueError as error:
            raise damaged(name, number, f"it is not a {kind.one}") from error


def as_line(kind: Kind[Any], text: bytes) -> Any:
    """A record that follows another, not taken apart.

    Raises:
        ValueError: it is not of that kind.
    """
    if kind.as_line is None:
        raise InternalError(f"{kind.many} follow nothing")
    return kind.as_line(text)


def parse_record(text: bytes, parse: Callable[[bytes], R], name: str, line: int | None = None) -> R:
    """One record.

    Args:
        text: its line.
        parse: makes the record of it.
        name: of the file, or of the record, for errors.
        line: its number in the file.

    Raises:
        DamagedSnapshotError: it is not JSON, or not what the schema says.
    """
    try:
        found = parse(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise damaged(name, line, f"{field + ': ' if field else ''}{first['msg']}") from error
    if why := misnamed(kind_of(found), found):
        raise damaged(name, line, why)
    return found


def taken_apart(line: FollowerLine) -> Any:
    """A record that follows another, from its line.

    Raises:
        DamagedSnapshotError: it is not one.
    """
    kind = kind_of(line)
    return parse_record(line.line, kind.record.model_validate_json, f"the {kind.one} {cut(kind.key(line), 300)!r}")


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
