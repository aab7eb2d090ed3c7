"""`mlmeta rewrite`: the artifact locations of a living store, for a bucket that moved under it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from mlmeta.commands.result import Issue, Result
from mlmeta.errors import ExitCode, UsageError
from mlmeta.notebook import Row
from mlmeta.progress import Progress, Silent
from mlmeta.schema.words import amount
from mlmeta.storage import Location
from mlmeta.stores.opening import Store, open_locations
from mlmeta.stores.rewrite import Located, Prefixes, Rewriter, Survey, pairs_of, shown_location

Confirm = Callable[[Survey], None]
"""Asked before anything is written; raises to stop."""


class RewriteResult(Result):
    """What was rewritten, and the proof of it.

    Args:
        prefixes: the old ones, each with the new one.
        survey: what was to be rewritten.
        changed: how many locations were, such as ``runs.artifact_uri``.
        after: the store read again; None: nothing was written.
        seconds: how long it took.
        dry_run: whether nothing was to be written.
    """

    prefixes: tuple[tuple[str, str], ...]
    survey: Survey
    changed: dict[str, int] = {}
    after: Survey | None = None
    seconds: float
    dry_run: bool = False

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What does not fit; what is not as it was to be."""
        unfit = (one for one in self.survey.located if one.unfit)
        return (
            *(Issue(code="unfit", message=_unfit(one), hint="choose a shorter prefix") for one in unfit),
            *(Issue(code="different", message=message, hint=_AGAIN) for message in self._differences()),
        )

    @property
    def headline(self) -> str:
        """How many locations, and where."""
        count = self.survey.matching if self.after is None else sum(self.changed.values())
        verb = "to rewrite" if self.after is None else "rewritten"
        return f"{amount(count, 'locations')} {verb} in {self.survey.target}"

    def entries(self) -> Iterator[Row]:
        """Each column, and how many of its locations were to change."""
        return ({"locations": one.name, "to change": one.matching, "total": one.total} for one in self.survey.located)

    @property
    def is_refused(self) -> bool:
        """Whether nothing can be written, as something would not fit."""
        return any(one.unfit for one in self.survey.located)

    @property
    def exit_code(self) -> ExitCode:
        """`FAILED` where something does not fit: nothing was written. `DIFFERENT` where the proof failed."""
        if self.is_refused:
            return ExitCode.FAILED
        return ExitCode.DIFFERENT if self.issues else ExitCode.DONE

    def _differences(self) -> Iterator[str]:
        """What the store does not have as it was to be. Others may have written into it meanwhile."""
        if self.after is None:
            return
        before = {one.name: one for one in self.survey.located}
        for one in self.after.located:
            planned = before.get(one.name, Located(kind=one.kind, field=one.field))
            if one.matching > planned.again:
                yield f"{one.name}: {_begin(one.matching - planned.again)} with the old prefix"
            elif one.total == planned.total and one.found != planned.wanted:
                yield f"{one.name}: the locations are not those that were to be written"


_AGAIN = (
    "somebody wrote into the store meanwhile: run it again, and see that no server has the old prefix in its settings"
)


def rewrite(
    tracking_uri: Location,
    prefixes: Prefixes,
    *,
    dry_run: bool = False,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
) -> RewriteResult:
    """Put new prefixes in place of old ones, in all artifact locations of a database.

    It changes what is there, in one transaction. Twice, it changes nothing.

    Args:
        tracking_uri: the database.
        prefixes: old and new ones. The first whose old prefix a location begins with is used; it ends there or at a
            slash, so that ``gs://old`` is not the beginning of ``gs://older``.
        dry_run: only say what would be changed.
        confirm: asked before anything is written; raises to stop.
        progress: told how far it is.

    Raises:
        UsageError: it is not a database, or a prefix can't be used.
        ConnectionFailedError: it can't be used; nothing was written.
    """
    began = time.monotonic()
    progress = progress or Silent()
    pairs = pairs_of(prefixes)
    _must_move(pairs)
    with open_locations(Store(os.fspath(tracking_uri))) as locations:
        survey = locations.survey(pairs, progress)
        result = RewriteResult(
            prefixes=tuple((shown_location(old), shown_location(new)) for old, new in pairs),
            survey=survey,
            seconds=0,
            dry_run=dry_run,
            warnings=tuple(_warnings(survey)),
        )
        if survey.matching and not dry_run and not result.is_refused:
            if confirm is not None:
                confirm(survey)
            changed = locations.rewrite(pairs, progress)
            progress.phase("reading all locations again")
            after = locations.survey(pairs, Silent())
            result = result.model_copy(update={"changed": changed, "after": after})
    return result.model_copy(update={"seconds": time.monotonic() - began})


def _must_move(pairs: Sequence[tuple[str, str]]) -> None:
    if not pairs:
        raise UsageError("no artifact prefix is given", hint="name it with --artifact-prefix OLD=NEW")
    Rewriter(pairs)
    for old, new in pairs:
        if not new:
            raise UsageError(
                f"there is no new prefix for {shown_location(old)}", hint="give OLD=NEW, such as gs://old=gs://new"
            )
        if old == new:
            raise UsageError(
                f"{shown_location(old)} is both the old and the new prefix",
                hint="give OLD=NEW, such as gs://old=gs://new",
            )


def _begin(count: int) -> str:
    return f"{amount(count, 'locations')} {'begins' if count == 1 else 'begin'}"


def _unfit(one: Located) -> str:
    verb = "doesn't" if one.unfit == 1 else "don't"
    return f"{one.name}: {amount(one.unfit, 'locations')} {verb} fit, and nothing was written: {one.problem}"


def _warnings(survey: Survey) -> Iterator[str]:
    if survey.unused:
        yield f"no artifact location begins with {' or '.join(survey.unused)}"
    if again := sum(one.again for one in survey.located):
        yield (
            f"{_begin(again)} with an old prefix afterwards, too: a second run would change "
            f"{'it' if again == 1 else 'them'} once more"
        )
    if survey.mentions:
        yield (
            f"{amount(survey.mentions, 'datasets')} that runs used {'has' if survey.mentions == 1 else 'have'} an old "
            "prefix as the source of the data: that stays, as it says where they came from"
        )
