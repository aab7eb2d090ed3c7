"""When a guarded store is saved: a function of what was seen and when, so that it can be tested without waiting.

Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlmeta.stores.tokens import NOTHING, Token

QUIET = 5.0
"""Seconds without a change after which what has changed is saved."""
_MARGIN = 1.5
"""How often the last duration is reckoned for the next save."""
_REST = 4.0
"""How often the last duration lies between two saves at least: then a fifth of the time is spent saving."""
_LOOKS = 2.0
"""Seconds that go by until a change is seen, and until it is seen that a save is due: one each, at a look a second."""
_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_RETRY_AT_END = 0.5


@dataclass(frozen=True)
class Pace:
    """What a person wants.

    Args:
        rpo: seconds within which a change is saved, as long as saving is fast enough.
        quiet: seconds without a change after which it is saved at once.
    """

    rpo: float = 60.0
    quiet: float = QUIET


@dataclass
class _Save:
    """A save that is under way.

    Args:
        token: what the store looked like just before it began.
        began: when it began.
        first_change: when the first change that it saves was seen.
    """

    token: Token | None
    began: float
    first_change: float | None


class Schedule:
    """What is not saved yet, and when it will be.

    A store that is there counts as changed when it is seen for the first time.

    Args:
        pace: what is wanted.
        now: when it begins.
    """

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._seen: Token | None = NOTHING
        self._saved: Token | None = NOTHING
        self._first_change: float | None = None
        self._last_change = now
        self._rests_until = now
        self._save: _Save | None = None
        self._failed: Token | None = None
        self._deadline: float | None = None
        self._tries_at_end = 0
        self._failures_at_end = 0
        self._tried_when_gone = False
        self.duration = 0.0
        """Seconds that the last save took."""
        self._usual = 0.0
        """The lesser of the last two: one that waited for a storage that was away does not set the pace."""
        self.failures = 0
        """How many saves have failed in a row."""

    @property
    def is_ending(self) -> bool:
        """Whether it comes to an end."""
        return self._deadline is not None

    def is_saved(self, *, watched: bool) -> bool:
        """Whether nothing is unsaved.

        Args:
            watched: whether it was looked at until the end; if not, a good save at the end will do.
        """
        if self._save is not None or self.failures:
            return False
        return self._first_change is None if watched else self._tries_at_end > 0

    @property
    def effective_rpo(self) -> float:
        """Seconds within which a change is saved, at the speed of the last saves."""
        return max(self._pace.rpo, (1 + _REST + _MARGIN) * self._usual + _LOOKS)

    def lag(self, now: float) -> float:
        """How old the oldest change is that is in no finished save, in seconds."""
        under_way = self._save.first_change if self._save is not None else None
        return max([0.0, *(now - one for one in (self._first_change, under_way) if one is not None)])

    def see(self, token: Token | None, now: float, late: float = 0.0) -> None:
        """The store was looked at.

        Args:
            token: what it looks like; None: unknown, which counts as changed.
            now: when.
            late: seconds by which a change may be seen late.
        """
        if self._is_other(token, self._seen):
            is_new = self._seen != NOTHING  # what was there before may have waited long enough
            self._last_change = now if is_new else now - self._pace.quiet
            if self._first_change is None:
                self._first_change = now - late
        self._seen = token

    def _is_other(self, one: Token | None, other: Token | None) -> bool:
        if one is None or other is None:
            return True
        return one.exact != other.exact if self._deadline is not None else one.likely != other.likely

    def is_due(self, now: float) -> bool:
        """Whether a save is to begin. To be asked just after `see`."""
        if self._first_change is None or self._save is not None or now < self._rests_until:
            return False
        latest = self._first_change + self._pace.rpo - _MARGIN * self._usual - _LOOKS
        return now >= min(self._last_change + self._pace.quiet, latest)

    def begin(self, now: float) -> bool:
        """A save begins, with what was seen last; whether it only repeats one that failed, as nothing has changed."""
        again = self.failures > 0 and not self._is_other(self._seen, self._failed)
        self._save = _Save(self._seen, now, self._first_change)
        self._first_change = None
        return again

    def finish(self, now: float, *, good: bool, usual: bool = True) -> None:
        """The save has ended.

        Args:
            now: when.
            good: whether the store is saved as it was when the save began.
            usual: whether the next one will take as long.
        """
        save, self._save = self._save, None
        if save is None:
            return
        if good:
            self._take_time(now - save.began, usual=usual)
            self._saved, self.failures = save.token, 0
            self._rests_until = now + min(_REST * self.duration, max(_REST * self._usual, self._pace.rpo))
            return
        self._first_change, self._failed = save.first_change, save.token
        self.failures += 1
        pause = _FIRST_RETRY * 2.0 ** (self.failures - 1)
        if self._deadline is not None:
            pause = _RETRY_AT_END * 2.0**self._failures_at_end
            self._failures_at_end += 1
        self._rests_until = now + min(pause, _LONGEST_RETRY)

    def _take_time(self, seconds: float, *, usual: bool) -> None:
        if usual:
            self._usual = min(self.duration or seconds, seconds)
            self.duration = seconds

    @property
    def rests_until(self) -> float:
        """Before this no save begins."""
        return self._rests_until

    def end(self, now: float, deadline: float) -> None:
        """It comes to an end: nothing is waited for any more, and a change is one that may be one.

        Args:
            now: when.
            deadline: when there shall be nothing left.
        """
        self._deadline = deadline
        self._rests_until = min(self._rests_until, now)
        save = self._save
        begun = save.token if save is not None else self._saved
        if self._first_change is None and self._is_other(self._seen, begun):
            self._first_change = now

    def is_due_at_end(self, now: float, *, alive: bool) -> bool:
        """Whether one of the last saves is to begin. To be asked just after `see`.

        The first begins at once, beside a server that is about to end. If something changed after that, another one
        follows when the server has ended, or when there is just the time for it. What failed is tried again until the
        deadline.

        Args:
            now: when.
            alive: whether anything is left of the child.
        """
        deadline = self._deadline
        if deadline is None or self._first_change is None or self._save is not None or now < self._rests_until:
            return False
        if self.failures and now < deadline:
            return True
        if alive:
            return self._tries_at_end == 0 or now >= deadline - _MARGIN * self._usual
        return not self._tried_when_gone

    def is_over(self, now: float) -> bool:
        """Whether nothing more is to be saved, once nothing is left of the child. To be asked just after `see`."""
        if self._save is not None:
            return False
        again = self.failures > 0 and self._deadline is not None and now < self._deadline
        return self._first_change is None or (self._tried_when_gone and not again)

    def begin_at_end(self, now: float, *, alive: bool) -> bool:
        """One of the last saves begins; see `begin`."""
        self._tries_at_end += 1
        self._tried_when_gone |= not alive
        return self.begin(now)
