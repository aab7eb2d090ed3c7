"""The artifact locations of a living store: what rewriting their prefixes would change, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.progress import Progress

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
    """

    model_config = ConfigDict(frozen=True)

    target: str
    located: tuple[Located, ...]
    others: dict[str, int] = {}
    mentions: int = 0

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
