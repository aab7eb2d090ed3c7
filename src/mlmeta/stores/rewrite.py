"""Artifact locations that change: on the way into a target, or in a living store."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.errors import UsageError
from mlmeta.progress import Progress
from mlmeta.redaction import cut, secrets_in, without_secrets
from mlmeta.schema import ROWS, WITH_PARTS, Row

LOCATED = {kind.counted_as: kind.one for kind in WITH_PARTS if kind.is_located}
"""What the kinds of record are counted as that have an artifact location."""
Prefix = str | re.Pattern[str]
Prefixes = Mapping[str, str] | Iterable[tuple[str, str]]
"""Old prefixes, each with the new one."""
_ROOT = re.compile(r"[A-Za-z][\w+.\-]+:(?://[^/]+)?")
_LONGEST = 100
NO_BUCKET = re.compile(r"(?!(?:(?:gs|s3|oss|wasbs)://|(?:mlflow-artifacts|runs|models):/(?!/))[^\x00-\x1f\x7f]*\Z)")
"""All but buckets and ids. Not the schemes that have a host in them, such as ``abfss://x@host`` and ``r2://x@host``: a
server would ask that host, be it an internal one. No character that a parser drops: ``models:/\t/host`` has one too."""
BUCKETS_ONLY: tuple[tuple[Prefix, str], ...] = ((NO_BUCKET, "not-served:"),)
"""For a server that shows a snapshot of unknown origin, which must not hand out the files of ``file:///etc``."""


class Rewriter:
    """Replaces prefixes of artifact locations, and counts.

    Args:
        pairs: old and new prefix; the first whose old prefix matches, at a ``/`` or the end, is used. A pattern is
            matched instead, and the new prefix is put in place of what it takes.
        settles: whether a location stays that begins with the new prefix of its pair already, where that begins with
            the old one: so that doing it twice changes nothing.

    Raises:
        UsageError: an old prefix is empty, or never used; or just one of a pair ends with a slash.
    """

    def __init__(self, pairs: Sequence[tuple[Prefix, str]], *, settles: bool = False) -> None:
        if not all(old for old, _ in pairs):
            raise UsageError("an artifact prefix to rewrite is empty", hint="give OLD=NEW, such as gs://old=gs://new")
        for old, new in pairs:
            if isinstance(old, str) and old.endswith("/") != new.endswith("/"):  # gs://newfile, or gs://new//file
                both = f"{shown_location(old)} and {shown_location(new)}"
                raise UsageError(
                    f"of the artifact prefixes {both}, only one ends with a slash",
                    hint="write both with a slash at the end, or both without",
                )
        _must_all_be_used([old for old, _ in pairs if isinstance(old, str)])
        self._pairs = tuple(pairs)
        self._settles = settles
        self._used: Counter[Prefix] = Counter()
        self._changed: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to rewrite."""
        return bool(self._pairs)

    def again(self) -> Rewriter:
        """One that does the same, and has counted nothing."""
        return Rewriter(self._pairs, settles=self._settles)

    def uris(self, kind: str, *uris: str | None) -> list[str | None]:
        """The locations of one record as they shall be stored.

        Args:
            kind: of the record, one of `LOCATED`.
            uris: its locations.
        """
        if not self._pairs:
            return list(uris)
        rewritten = [self._rewritten(uri) for uri in uris]
        self._changed[kind] += rewritten != list(uris)
        return rewritten

    def row(self, row: Row) -> Row:
        """A row of a table with its locations as they shall be stored."""
        if not self._pairs:
            return row
        columns = [
            column for column in ROWS.location_columns.get(row.table, ()) if isinstance(row.row.get(column), str)
        ]
        before = [row.row[column] for column in columns]
        after = self.uris(ROWS.counted_as, *before) if before else before
        changed = dict(zip(columns, after, strict=True))
        return row if after == before else row.model_copy(update={"row": {**row.row, **changed}})

    def _rewritten(self, uri: str | None) -> str | None:
        old = self._pair(uri)[0]
        if old:
            self._used[old] += 1
        return self.preview(uri)

    def use(self, uri: str) -> None:
        """Note which old prefixes a location begins with, whether it stays or not."""
        self._used.update(old for old, _ in self._pairs if _length(uri, old) is not None)

    @property
    def unused(self) -> tuple[str, ...]:
        """The old prefixes that nothing began with so far, fit for screens."""
        return tuple(shown_location(str(old)) for old, _ in self._pairs if not self._used[old])

    def is_settled(self, uri: str) -> bool:
        """Whether a location begins with an old prefix, and stays all the same."""
        return any(_length(uri, old) is not None for old, _ in self._pairs) and not self._pair(uri)[0]

    def _pair(self, uri: str | None) -> tuple[Prefix, str, int]:
        """The pair whose old prefix a location begins with, and how long that is; nothing where there is none."""
        for old, new in self._pairs if uri else ():
            if (length := _length(uri or "", old)) is not None:
                is_there = self._settles and is_nested(old, new) and _length(uri or "", new) is not None
                return ("", "", 0) if is_there else (old, new, length)
        return "", "", 0

    def preview(self, uri: str | None) -> str | None:
        """A location as it shall be stored, without counting it."""
        old, new, length = self._pair(uri)
        return new + uri[length:] if uri and old else uri

    def notes(self) -> tuple[str, ...]:
        """How many records of each kind got another location; prefixes that nothing begins with."""
        if not self._pairs:
            return ()
        counts = ((self._changed[many], one, many) for many, one in LOCATED.items())
        changed = ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in counts if count)
        unused = (f"no artifact location begins with {old}" for old in self.unused)
        return (f"artifact locations are rewritten in {changed or 'nothing'}", *unused)


def _must_all_be_used(prefixes: Sequence[str]) -> None:
    """See that none hides behind an earlier one, which would send its locations elsewhere."""
    for place, prefix in enumerate(prefixes):
        for earlier in prefixes[:place]:
            if _length(prefix, earlier) is not None:
                raise UsageError(
                    f"the artifact prefix {shown_location(prefix)} would never be used: {shown_location(earlier)} "
                    "comes before it, and takes all of its locations",
                    hint="give each prefix once, and longer ones before shorter ones",
                )


def pairs_of(rewrite: Prefixes) -> tuple[tuple[str, str], ...]:
    """Old and new prefixes.

    Raises:
        UsageError: they are something else, such as a single text.
    """
    found = tuple(rewrite.items() if isinstance(rewrite, Mapping) else rewrite)
    if not all(isinstance(one, tuple | list) and len(one) == 2 for one in found):
        raise UsageError("rewrite is not pairs of prefixes", hint='write {"gs://old": "gs://new"}')
    return tuple((os.fspath(old), os.fspath(new)) for old, new in found)


def is_nested(old: Prefix, new: str) -> bool:
    """Whether a new prefix begins with the old one, as in ``gs://b=gs://b/sub``."""
    return _length(new, old) is not None


def root_of(uri: str) -> str:
    """What a location begins with, to count by: a scheme, with what is between its slashes; of a path, that it is one.

    Such as ``gs://bucket``, ``models:`` and ``a path``.
    """
    found = _ROOT.match(shown_location(uri))
    return cut(found[0], _LONGEST) if found else "a path"


def shown_location(uri: str) -> str:
    """A location fit for screens: without a password, where it has one; ``wasbs://container@account`` has none."""
    return without_secrets(uri) if secrets_in(uri) else uri


def _length(uri: str, prefix: Prefix) -> int | None:
    """How much of a location a prefix takes; None where it does not begin with it."""
    if isinstance(prefix, re.Pattern):
        found = prefix.match(uri)
        return found and found.end()
    behind = uri[len(prefix) : len(prefix) + 1]
    return len(prefix) if uri.startswith(prefix) and (prefix.endswith("/") or behind in {"", "/"}) else None


Pairs = Sequence[tuple[str, str]]
"""Old and new prefixes."""


class Example(BaseModel):
    """A location.

    Args:
        old: as it is.
        new: as it is to be.
    """

    model_config = ConfigDict(frozen=True)

    old: str
    new: str


class Located(BaseModel):
    """The locations in one column of a store's database.

    Args:
        kind: of record, such as ``runs`` or ``model versions``; of rows, their table.
        field: of the record, or the tag.
        total: how many there are.
        matching: how many of them begin with an old prefix, and are to change.
        settled: how many begin with an old prefix and with the new one, as ``gs://b/sub/1`` does for
            ``gs://b=gs://b/sub``: they stay, so that a second run changes nothing.
        again: how many would begin with an old prefix all the same, and be changed once more by a second run.
        unfit: how many would not fit into the column.
        problem: why the first of these would not.
        examples: the first that are to change.
        found: a number that stands for all the locations as they are, whatever their order.
        wanted: the same for all as they are to be.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    field: str
    total: int = 0
    matching: int = 0
    settled: int = 0
    again: int = 0
    unfit: int = 0
    problem: str = ""
    examples: tuple[Example, ...] = ()
    found: int = Field(default=0, exclude=True)
    wanted: int = Field(default=0, exclude=True)

    @property
    def name(self) -> str:
        """Such as ``runs.artifact_uri``."""
        return f"{self.kind}.{self.field}"


class Survey(BaseModel):
    """What rewriting would change.

    Args:
        target: the store, without credentials.
        located: its locations, column by column.
        others: how many locations begin with something else, by what that is, such as ``gs://other``.
        mentions: how many datasets name an old prefix as the source of their data, which stays as it is.
        unused: old prefixes that no location begins with.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    located: tuple[Located, ...]
    others: dict[str, int] = {}
    mentions: int = 0
    unused: tuple[str, ...] = ()

    @property
    def matching(self) -> int:
        """How many locations are to change."""
        return sum(one.matching for one in self.located)


class Locations(Protocol):
    """A store whose locations can be rewritten."""

    def survey(self, pairs: Pairs, progress: Progress) -> Survey:
        """Look at all locations. Nothing is written.

        Raises:
            ConnectionFailedError: the store can't be read.
        """

    def rewrite(self, pairs: Pairs, progress: Progress) -> dict[str, int]:
        """Rewrite all that begin with an old prefix, in one transaction; how many, by `Located.name`.

        Raises:
            MlmetaError: nothing was written.
        """
