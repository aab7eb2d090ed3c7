"""Artifact locations that move on the way in: another bucket, another folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mlmeta.errors import UsageError

KINDS = ("experiments", "runs", "logged models", "model versions")
"""Kinds of record that have an artifact location."""
ANY = "*"
_BUCKETS = ("gs://", "s3://", "r2://", "b2://", "oss://", "abfss://", "wasbs://", "mlflow-artifacts:/")
_BY_ID = ("runs:/", "models:/")
BUCKETS_ONLY = (*((kept, kept) for kept in (*_BUCKETS, *_BY_ID)), (ANY, "not-served:"))
"""For a server that shows a snapshot of unknown origin, which must not hand out the files of ``file:///etc``."""


class Rewriter:
    """Replaces prefixes of artifact locations, and counts.

    Args:
        pairs: old and new prefix; the first whose old prefix matches, at a ``/`` or the end, is used. `ANY` matches
            all that no pair before it does, and the new prefix is put before the whole of it.

    Raises:
        UsageError: an old prefix is empty.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        if not all(old for old, _ in pairs):
            raise UsageError("an artifact prefix to rewrite is empty", hint="give OLD=NEW, such as gs://old=gs://new")
        self._pairs = tuple(pairs)
        self._used: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()

    def again(self) -> Rewriter:
        """One that does the same, and has counted nothing."""
        return Rewriter(self._pairs)

    @property
    def is_needed(self) -> bool:
        """Whether any prefix is to be rewritten."""
        return bool(self._pairs)

    def uris(self, kind: str, *uris: str | None) -> list[str | None]:
        """The locations of one record as they shall be stored.

        Args:
            kind: of the record, one of `KINDS`.
            uris: its locations.
        """
        if not self._pairs:
            return list(uris)
        rewritten = [self._rewritten(uri) for uri in uris]
        self._changed[kind] += rewritten != list(uris)
        return rewritten

    def _rewritten(self, uri: str | None) -> str | None:
        old, _ = self._pair(uri)
        if old:
            self._used[old] += 1
        return self.preview(uri)

    def _pair(self, uri: str | None) -> tuple[str, str]:
        """The pair whose old prefix a location begins with; two empty strings where there is none."""
        return next((pair for pair in self._pairs if uri and _has_prefix(uri, pair[0])), ("", ""))

    def preview(self, uri: str | None) -> str | None:
        """A location as it shall be stored, without counting it."""
        old, new = self._pair(uri)
        if not uri or not old:
            return uri
        return new + (uri if old == ANY else uri[len(old) :])

    def notes(self) -> tuple[str, ...]:
        """How many records of each kind got another location; prefixes that nothing begins with."""
        if not self._pairs:
            return ()
        changed = ", ".join(f"{self._changed[kind]} {kind}" for kind in KINDS)
        unused = [f"no artifact location begins with {old}" for old, _ in self._pairs if not self._used[old]]
        return (f"artifact locations are rewritten in {changed}", *unused)


def _has_prefix(uri: str, prefix: str) -> bool:
    behind = uri[len(prefix) : len(prefix) + 1]
    return prefix == ANY or (uri.startswith(prefix) and (prefix.endswith("/") or behind in {"", "/"}))
