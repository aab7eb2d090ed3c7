"""The summary: a snapshot's table of contents and its commit marker."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import UsageError
from mlmeta.schema.auth import AUTH
from mlmeta.schema.identity import canonical, is_vague
from mlmeta.schema.kind import Kind, Record
from mlmeta.schema.kinds import KINDS, SCHEMA_VERSION, WITH_PARTS
from mlmeta.schema.selection import Selection

COUNTED = ("experiments", "runs", "models", "model_versions", "metric_points")
"""What every summary counts, be it 0; what came later is counted where there is some."""

_OF_RECORDS = {"database", "table"}.union(*({kind.one, *kind.pieces} for kind in WITH_PARTS))
_NO_CHECKSUM = b"0" * 64
_LEFT_OUT = ("tags", "accepted", "epoch", "includes")
"""Fields that are written only where there is something in them."""
_CHECKSUM = re.compile(rb'("checksum": ")([0-9a-f]{64})(")')


UNNAMED = "more"
"""The kind of an entry in `Summary.skipped` that stands for those there was no room for."""


class FileEntry(BaseModel):
    """A data file of a snapshot.

    Args:
        name: in the storage.
        bytes: its size.
        records: how many it holds.
        sha256: of its bytes, in hex.
        content_sha256: of the JSON in it: the same as `sha256` unless the file is compressed.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    bytes: int
    records: int
    sha256: str
    content_sha256: str = ""


class Skipped(BaseModel):
    """Something the source has and the snapshot lacks."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: str
    id: str
    reason: str

    @property
    def is_of_records(self) -> bool:
        """Whether a snapshot has records of this kind: then some could not be read; others it never has."""
        return self.kind in _OF_RECORDS


class Summary(BaseModel):
    """What `backup_summary_TS.json` holds.

    Args:
        backup_timestamp: the snapshot's name, ``YYYYMMDD_HHMMSS`` in UTC.
        backup_date: when the backup began, ISO 8601 in UTC.
        mlflow_uri: the source, without credentials.
        stats: counts: ``experiments``, ``runs``, ``models``, ``model_versions``, ``logged_models``,
            ``metric_points``.
        files: the data files by kind.
        tables: how many rows of each table that no other kind models.
        note: a sentence for people.
        started: when reading began, milliseconds since the epoch.
        finished: when reading ended, milliseconds since the epoch.
        point_in_time: whether the read saw one point in time.
        experiments: the names the backup was limited to; empty: everything.
        workspaces: likewise, ``default`` for the default one.
        without: the kinds and groups that the backup left out on request, such as ``spans``; empty: none.
        incremental_base: timestamp of the snapshot that unchanged histories were taken from; empty: all were read.
        fully_read: when all histories were last read, here or in a base; milliseconds since the epoch, 0 if unknown.
        source_id: which store it was taken from, whatever text named it; empty in older snapshots.
        shrunken: why this is suspected to lack most of what the source has, as the snapshot before has it; empty:
            it is not.
        label: the name that a person gave the source; it stands for `source_id` then.
        tags: that a person gave the snapshot.
        accepted: words for those kinds of things in `skipped` that a person accepted to be missing.
        epoch: number of the guard that saved it; 0: none did.
        includes: of earlier guards, by their numbers, the newest snapshot whose content is in this one: see `Lineage`.
        auth_uri: the database that users and permissions of basic-auth were taken from, without credentials; empty:
            they were not asked for.
        auth_revision: the revision of its schema (alembic); empty: of MLflow before 3.6.
        checksum: SHA-256 of this very file with the checksum's digits replaced by zeros.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    backup_timestamp: str
    backup_date: str
    mlflow_uri: str
    stats: dict[str, int]
    files: dict[str, FileEntry]
    note: str
    tables: dict[str, int] = {}
    schema_version: str = SCHEMA_VERSION
    mlmeta_version: str = ""
    mlflow_client_version: str | None = None
    mlflow_server_version: str | None = None
    source_kind: str = "server"
    started: int = 0
    finished: int = 0
    point_in_time: bool = False
    experiments: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    incremental_base: str = ""
    fully_read: int = 0
    source_id: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    accepted: tuple[str, ...] = ()
    epoch: int = 0
    includes: dict[int, str] = {}
    shrunken: str = ""
    auth_uri: str = ""
    auth_revision: str = ""
    warnings: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    checksum: str = _NO_CHECKSUM.decode()

    @property
    def gaps(self) -> tuple[Skipped, ...]:
        """What the source has and the snapshot lacks, without what a person accepts to be missing."""
        return Acceptance(self.accepted).gaps(self.skipped)

    @property
    def lineage(self) -> Lineage:
        """Which guard saved it, and what of earlier ones it includes."""
        return Lineage(self.epoch, self.includes)

    @property
    def selection(self) -> Selection:
        """What of the source it was limited to."""
        return Selection(self.experiments, without=self.without, workspaces=self.workspaces, auth=self.has_auth)

    @property
    def has_auth(self) -> bool:
        """Whether users and permissions of basic-auth are in it, or were asked for."""
        return bool(self.auth_uri) or AUTH.name in self.files

    @property
    def unsupported(self) -> tuple[Kind[Record], ...]:
        """The kinds that whatever wrote it could not save yet."""
        own = max(_numbers(self.schema_version), (1, 0))  # the older script's are named by themselves
        return tuple(kind for kind in KINDS.values() if _numbers(kind.since) > own)

    @property
    def identity(self) -> str:
        """What the snapshots of one source share."""
        return self.label or self.source_id or canonical(self.mlflow_uri)

    @property
    def is_vague(self) -> bool:
        """Whether an older mlmeta wrote it, and its text can mean several stores."""
        return not (self.label or self.source_id) and is_vague(canonical(self.mlflow_uri))

    def to_bytes(self) -> bytes:
        """The file's content, its own checksum included."""
        blank = self.model_copy(update={"checksum": _NO_CHECKSUM.decode()})
        without = {name for name in _LEFT_OUT if not getattr(self, name)}
        text = (blank.model_dump_json(indent=1, exclude=without) + "\n").encode()
        return _with_checksum(text, hashlib.sha256(text).hexdigest().encode())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".") if number.isdecimal())


def summary_is_intact(text: bytes) -> bool:
    """Whether a summary file is, to the byte, what was written."""
    found = _CHECKSUM.findall(text)
    if len(found) != 1:
        return False
    blank = _with_checksum(text, _NO_CHECKSUM)
    return hashlib.sha256(blank).hexdigest() == str(found[0][1], "ascii")


def _with_checksum(text: bytes, checksum: bytes) -> bytes:
    return _CHECKSUM.sub(rb"\g<1>" + checksum + rb"\g<3>", text)


LAST_EPOCH = 999_999_999
_EARLIER_GUARDS = 64
"""Earlier guards that are told apart; those before count as brought in."""


@dataclass(frozen=True)
class Lineage:
    """What is in a guard's snapshot, or in the store that it guards.

    Args:
        epoch: of the guard; 0: there is none.
        includes: of earlier guards, by their epochs, the timestamp of the newest snapshot whose content is in it.
    """

    epoch: int = 0
    includes: Mapping[int, str] = field(default_factory=dict)

    def has(self, epoch: int, timestamp: str) -> bool:
        """Whether the content of an earlier guard's snapshot is in it.

        Args:
            epoch: of that guard.
            timestamp: of the snapshot.
        """
        last = self.includes.get(epoch)
        if last is not None:
            return timestamp <= last
        return len(self.includes) >= _EARLIER_GUARDS and epoch < min(self.includes)

    def follows(self, epoch: int, timestamp: str) -> bool:
        """Whether it goes on from a snapshot, as far as that can be known: its guard's own, or one that is in it."""
        return not self.epoch or epoch in {0, self.epoch} or self.has(epoch, timestamp)

    def having(self, epoch: int, timestamp: str) -> Lineage:
        """The same, with the content of an earlier guard's snapshot; 0 is none's."""
        if not epoch or self.has(epoch, timestamp):
            return self
        newest = sorted({**self.includes, epoch: timestamp}.items())[-_EARLIER_GUARDS:]
        return replace(self, includes=dict(newest))

    def joined(self, other: Lineage) -> Lineage:
        """The same, with all that is in another one."""
        found = self
        for epoch, timestamp in other.includes.items():
            found = found.having(epoch, timestamp)
        return found

    def fork(self, other: Lineage) -> str:
        """The timestamp of the newest snapshot that is in both, by its guard's number; empty: none is.

        Args:
            other: of an earlier guard's snapshot.
        """
        if other.epoch in self.includes:
            return self.includes[other.epoch]
        last = max(self.includes.keys() & other.includes.keys(), default=0)
        return min(self.includes[last], other.includes[last]) if last else ""


_BY_TABLE = {"table", "row", "rows"}
"""Kinds whose id is the name of a table, which is a word for what is missing as well."""


def forms(word: str) -> frozenset[str]:
    """A word as others may write it: in the singular or plural, with blanks, dashes or underscores."""
    plain = " ".join(word.casefold().replace("_", " ").replace("-", " ").split())
    several = f"{plain[:-1]}ies" if plain.endswith("y") else f"{plain}s"
    return frozenset({plain, several, f"{plain}es"})


class Gap(Protocol):
    """Something that is missing: see `Skipped`."""

    @property
    def kind(self) -> str:
        """Of what is missing."""

    @property
    def id(self) -> str:
        """Of it."""


G = TypeVar("G", bound=Gap)


@dataclass(frozen=True)
class Acceptance:
    """What is accepted.

    Args:
        words: for kinds of things that may be missing, such as ``webhooks``; none: nothing may.
    """

    words: tuple[str, ...] = ()

    @cached_property
    def _forms(self) -> dict[str, str]:
        return {form: word for word in self.words for form in forms(word)}

    def word_for(self, kind: str, identifier: str = "") -> str:
        """The word that accepts a gap; empty: none does.

        Args:
            kind: of what is missing, as a `Skipped` or a refusal names it.
            identifier: its id.
        """
        names = (kind, identifier.removeprefix("of ")) if kind in _BY_TABLE else (kind,)
        return next((self._forms[form] for name in names for form in forms(name) if form in self._forms), "")

    def gaps(self, found: Iterable[G]) -> tuple[G, ...]:
        """Those that are not accepted."""
        return tuple(one for one in found if not self.covers(one.kind, one.id))

    def used(self, found: Iterable[Gap]) -> tuple[str, ...]:
        """The words that some of these need to be accepted."""
        return tuple(sorted({self.word_for(one.kind, one.id) for one in found}.difference({""})))

    def covers(self, kind: str, identifier: str = "") -> bool:
        """Whether a gap is accepted."""
        return bool(self._forms) and bool(self.word_for(kind, identifier))


def is_among(word: str, known: Iterable[str]) -> bool:
    """Whether a word, in whatever form, is one of some."""
    wanted = forms(word)
    return any(not wanted.isdisjoint(forms(one)) for one in known)


LONGEST_TAG_KEY = 250
LONGEST_TAG_VALUE = 5000
MOST_TAGS = 100
_TAG_HINT = "such as --tag release=1.4"


def tags_of(words: Iterable[str]) -> dict[str, str]:
    """The tags that words such as ``release=1.4`` give.

    Raises:
        UsageError: a word is not KEY=VALUE, or two give a key different values.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not KEY=VALUE", hint=_TAG_HINT)
        if found.setdefault(key, value) != value:
            raise UsageError(
                f"the tag {key} has two values, {found[key]!r} and {value!r}", hint="leave one of them out"
            )
    return checked_tags(found)


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as a summary can have them, in one order.

    Raises:
        UsageError: a key is empty or has an ``=``, or there is more than a summary shall hold.
    """
    if len(tags) > MOST_TAGS:
        raise UsageError(
            f"{len(tags):,} tags are more than the {MOST_TAGS} that a snapshot can have", hint="leave some out"
        )
    for key, value in tags.items():
        if not key or "=" in key:
            raise UsageError(f"{key!r} is not the key of a tag", hint=_TAG_HINT)
        if len(key) > LONGEST_TAG_KEY or len(value) > LONGEST_TAG_VALUE:
            raise UsageError(
                f"the tag {key[:40]!r} is too long",
                hint=f"a key has at most {LONGEST_TAG_KEY} characters, a value {LONGEST_TAG_VALUE:,}",
            )
    return dict(sorted(tags.items()))


def has_tag(tags: Mapping[str, str], wanted: str) -> bool:
    """Whether a snapshot has a tag: ``KEY`` with whatever value, or ``KEY=VALUE``."""
    key, equals, value = wanted.partition("=")
    return key in tags and (not equals or tags[key] == value)
