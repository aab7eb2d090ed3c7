"""The loop: it waits for the child, for signals and for the clock, and has the store looked at and saved.

The main thread only waits and decides. One thread looks at the store, as a database may not answer, and one saves it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from mlmeta.errors import ExitCode, MlmetaError
from mlmeta.guard.child import ENDING, Child
from mlmeta.guard.others import Attendance, Attended, Others
from mlmeta.guard.schedule import Pace, Schedule
from mlmeta.guard.signals import News
from mlmeta.guard.status import Board, Status
from mlmeta.metrics import DURATION, EXIT_CODE, LAST_RUN, Sample
from mlmeta.redaction import without_any_secrets
from mlmeta.stores.tokens import Token, Watcher

_TICK = 1.0
"""Seconds between two looks at the store."""
_TICK_AT_END = 0.1
_SILENT = 5.0
"""Seconds after which a look that brought no answer counts as one that saw a change."""
_SILENT_AT_END = 1.0
_TOGETHER = 1.0
"""Seconds within which several signals are one: `timeout` sends two."""
_OVERTIME = 60.0
"""Seconds that a save may last beyond the end of the grace period, at least."""
_UNKILLABLE = 5.0
"""Seconds after SIGKILL in which what is left has to be gone."""
_CLOSING = 3.0
"""Seconds that letting go of the store may take."""


@dataclass(frozen=True)
class Outcome:
    """What came of a save.

    Args:
        text: what there is to say; empty: nothing new.
        timestamp: of the snapshot that has what the store had.
        problems: what a person should know.
        good: whether the store is saved in all places.
        complete: whether nothing of it is missing.
        usual: whether it did nothing that others do not do, so that the next one will take as long.
        samples: what monitoring is told of it.
    """

    text: str = ""
    timestamp: str = ""
    problems: tuple[str, ...] = ()
    good: bool = True
    complete: bool = True
    usual: bool = True
    samples: tuple[Sample, ...] = ()


Save = Callable[[bool, bool], Outcome]
"""Saves the store. It is told whether it only repeats what failed, and whether it comes to an end."""


class Log(Protocol):
    """Takes what there is to say. From the main thread only."""

    def info(self, text: str) -> None:
        """Something happened."""

    def warning(self, text: str) -> None:
        """Something should not have happened."""

    def detail(self, text: str) -> None:
        """Something that only a person who looks closely wants to know."""


@dataclass(frozen=True)
class Tells:
    """Who is told what happens.

    Args:
        log: takes messages.
        board: takes how it is doing.
    """

    log: Log
    board: Board


@dataclass(frozen=True)
class Terms:
    """How a store is guarded.

    Args:
        pace: when it is saved.
        grace: seconds from the beginning of the end until what is left of the child is killed.
        start_period: seconds after which the store is saved although the child does not say that it is ready.
        watched: whether the store can be asked for changes; if not, one good save at the end will do.
        at_once: whether the first save does not wait for the child, as something was left unsaved long ago.
    """

    pace: Pace = field(default_factory=Pace)
    grace: float = 8.0
    start_period: float = 120.0
    watched: bool = True
    at_once: bool = False


@dataclass(frozen=True)
class End:
    """How it ended.

    Args:
        exit_code: the child's, as a shell tells it.
        as_asked: whether the child ended well, or by a signal that it was sent.
        is_saved: whether all that the store had is saved.
        skipped: whether a second signal cut the last save short.
    """

    exit_code: int
    as_asked: bool
    is_saved: bool
    skipped: bool


class Supervisor:
    """Guards one child.

    Args:
        child: it has just been started.
        watcher: of its store.
        save: saves the store; raises an error where that failed.
        is_ready: whether the child can do its work already; called from a thread, and may take a second.
        terms: how.
        tells: takes messages, and how it is doing.
        news: of signals.
        others: looks after other guards.
    """

    def __init__(  # noqa: PLR0913 - what it brings together
        self,
        child: Child,
        watcher: Watcher,
        save: Save,
        is_ready: Callable[[], bool],
        terms: Terms,
        tells: Tells,
        news: News,
        *,
        others: Others,
    ) -> None:
        self._child = child
        self._watcher = watcher
        self._save = save
        self._is_ready = is_ready
        self._others = others
        self._attendance = Attendance(others, terms.pace.rpo, news.wake)
        self._terms = terms
        self._log, self._board = tells.log, tells.board
        self._news = news
        now = time.monotonic()
        self._schedule = Schedule(terms.pace, now)
        self._began = now
        self._ready = False
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="mlmeta-look")
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="mlmeta-save")
        self._looking: Future[Token | None] | None = None
        self._looked_at = now - _TICK
        self._gone_at: float | None = None
        self._saving: Future[Outcome] | None = None
        self._save_began = now
        self._said: dict[str, tuple[str, ...]] = {}
        self._said_slow = False
        self._complete = True
        self._sent: set[int] = set()
        self._last_success: float | None = None
        self._last_snapshot = ""
        self._last_error = ""

    def run(self) -> End:
        """Until the child has ended and its store is saved."""
        number = self._run_on()
        end = self._come_to_an_end(number)
        self._report(end.exit_code)
        self._attendance.wait(_CLOSING)
        self._finish_attending()
        self._reap()
        wait([self._looker.submit(self._watcher.close)], _CLOSING)
        for threads in (self._looker, self._saver):
            threads.shutdown(wait=False)
        return end

    def _run_on(self) -> int:
        """Until it ends; the signal that ends it, or 0 where the child did so by itself."""
        while True:
            for number in self._news.wait(self._until_next_look()):
                if number in ENDING:
                    return number
                if number != signal.SIGCHLD:
                    self._child.signal_first(number)
            self._reap()
            if self._child.look():
                return 0
            self._finish_save()
            self._finish_attending()
            self._attendance.turn(ready=self._may_save())
            self._report()
            if self._has_looked(_TICK, _SILENT) and self._may_save() and self._schedule.is_due(time.monotonic()):
                self._begin_save(again=self._schedule.begin(time.monotonic()))

    def _until_next_look(self) -> float:
        """Seconds; the end of a look that is under way wakes the loop by itself."""
        return _TICK if self._looking is not None else self._looked_at + _TICK - time.monotonic()

    def _reap(self) -> None:
        if self._saving is None and not self._attendance.is_busy:
            self._child.reap()

    def _finish_attending(self) -> None:
        """Take what came of a look at other guards, if one has ended."""
        look = self._attendance.taken()
        if look is None:
            return
        error = look.exception()
        done = look.result() if error is None else Attended(problems=(f"other guards: {_told(error)}",))
        for text in done.texts:
            self._log.info(text)
        self._say_problems(done.problems, "others")

    def _may_save(self) -> bool:
        first = self._terms.at_once and self._last_success is None
        return first or self._ready or time.monotonic() - self._began >= self._terms.start_period

    def _has_looked(self, tick: float, silent: float) -> bool:
        """Whether there is an answer of the store, or none for too long; the next look begins when it is time."""
        now = time.monotonic()
        if self._looking is None:
            if now - self._looked_at >= tick:
                self._looked_at = now
                self._looking = self._looker.submit(self._look)
                self._looking.add_done_callback(self._news.wake)
            return False
        if not self._looking.done():
            if now - self._looked_at < silent:
                return False
            self._schedule.see(None, now)
            return True
        error = self._looking.exception()
        self._schedule.see(None if error is not None else self._looking.result(), now, self._watcher.lag)
        if error is not None:
            self._say_problems((f"the store can't be watched: {_told(error)}",), "watching")
        self._looking = None
        return True

    def _look(self) -> Token | None:
        self._ready = self._ready or (not self._schedule.is_ending and self._is_ready())
        return self._watcher.token()

    def _begin_save(self, *, again: bool) -> None:
        self._log.detail("saving")
        self._save_began = time.monotonic()
        self._saving = self._saver.submit(self._save, again, self._schedule.is_ending)
        self._saving.add_done_callback(self._news.wake)

    def _finish_save(self) -> None:
        """Take what came of a save, if one has ended. It never ends the child, be it a bug of ours."""
        if self._saving is None or not self._saving.done():
            return
        error = self._saving.exception()
        outcome = self._saving.result() if error is None else Outcome(good=False)
        self._saving = None
        now = time.monotonic()
        self._schedule.finish(now, good=outcome.good, usual=outcome.usual)
        self._complete = outcome.complete
        self._remember(outcome, error)
        if outcome.text:
            self._log.info(outcome.text)
        if error is not None:
            again = f"; next try in {self._schedule.rests_until - now:.0f} s" if not self._schedule.is_ending else ""
            self._log.warning(f"could not save: {_told(error)}{again}")
        self._say_problems(outcome.problems, "saving")
        self._say_pace()

    def _remember(self, outcome: Outcome, error: BaseException | None) -> None:
        """Keep what the status tells of a save."""
        ended = time.time()
        problems = "" if outcome.good else without_any_secrets("; ".join(outcome.problems))
        self._last_error = _told(error) if error is not None else problems
        if outcome.good:
            self._last_success, self._last_snapshot = round(ended, 3), outcome.timestamp
        code = error.exit_code if isinstance(error, MlmetaError) else ExitCode.FAILED
        came_of_it = outcome.samples if error is None else (Sample(EXIT_CODE, code),)
        seconds = round(time.monotonic() - self._save_began, 3)
        self._board.measure((Sample(LAST_RUN, ended), Sample(DURATION, seconds), *came_of_it))

    def _report(self, exit_code: int | None = None) -> None:
        """Tell how it is doing."""
        schedule = self._schedule
        status = Status(
            state="ended" if exit_code is not None else "ending" if schedule.is_ending else "running",
            rpo=self._terms.pace.rpo,
            child=self._child.number,
            ready=self._ready,
            last_success=self._last_success,
            last_snapshot=self._last_snapshot,
            last_error=self._last_error,
            failures=schedule.failures,
            duration=round(schedule.duration, 3),
            lag=round(schedule.lag(time.monotonic()), 3),
            effective_rpo=round(schedule.effective_rpo, 3),
            epoch=self._others.epoch,
            superseded=self._others.superseded,
            exit_code=exit_code,
        )
        if why := self._board.tell(status):
            self._log.warning(why)

    def _say_problems(self, problems: tuple[str, ...], of: str) -> None:
        """Say what was not said the last time."""
        for text in problems:
            if text not in self._said.get(of, ()):
                self._log.warning(text)
        self._said[of] = problems

    def _say_pace(self) -> None:
        """Say once that the wanted RPO can't be held, and again after it could."""
        slow = self._schedule.effective_rpo > self._terms.pace.rpo
        if slow and not self._said_slow:
            self._log.warning(
                f"saving takes {self._schedule.duration:.0f} s: an RPO of {self._terms.pace.rpo:.0f} s can't be held, "
                f"the effective RPO is {self._schedule.effective_rpo:.0f} s"
            )
        self._said_slow = slow

    def _come_to_an_end(self, number: int) -> End:
        began = time.monotonic()
        deadline = began + self._terms.grace
        self._schedule.end(began, deadline)
        self._attendance.stop()
        self._say_end(number)
        self._send(signal.SIGTERM if number in {0, signal.SIGHUP} else number)
        skipped, overtime = False, deadline + max(_OVERTIME, 3 * self._schedule.duration)
        while True:
            again = [one for one in self._news.wait(_TICK_AT_END) if one in ENDING]
            now = time.monotonic()
            if again and now - began > _TOGETHER and not skipped:
                skipped = True
                self._log.warning("a second signal: what was not saved yet is not saved")
                self._send(again[0])
            self._reap()
            alive = self._child.is_left()
            if alive and now >= deadline:
                self._kill(now - deadline)
                alive = now < deadline + _UNKILLABLE
            self._finish_save()
            self._finish_attending()
            self._report()
            if self._is_finished(alive=alive, skipped=skipped) or now >= overtime:
                return self._end(skipped=skipped)

    def _say_end(self, number: int) -> None:
        if number:
            self._log.info(f"{signal.Signals(number).name}: the command is told to end")
        else:
            self._log.info(f"the command has ended with exit code {self._child.exit_code}")

    def _send(self, number: int) -> None:
        self._sent.add(number)
        self._child.signal_all(number)

    def _kill(self, late: float) -> None:
        if signal.SIGKILL not in self._sent:
            self._log.warning(f"not everything has ended within {self._terms.grace:g} s: what is left is killed")
        if late < _UNKILLABLE:
            self._send(signal.SIGKILL)

    def _is_finished(self, *, alive: bool, skipped: bool) -> bool:
        """Whether there is nothing more to wait for; saves begin on the way."""
        if skipped:
            return not alive
        if not alive and self._gone_at is None:
            self._gone_at = time.monotonic()
        if not self._has_looked(_TICK_AT_END, _SILENT_AT_END):
            return False
        now = time.monotonic()
        enough = not self._terms.watched and self._schedule.is_saved(watched=False)
        if not enough and self._schedule.is_due_at_end(now, alive=alive):
            self._begin_save(again=self._schedule.begin_at_end(now, alive=alive))
            return False
        if self._gone_at is None or (self._looked_at < self._gone_at and self._looking is None):
            return False  # what the store looks like when nobody writes any more is not known yet
        return enough or self._schedule.is_over(now)

    def _end(self, *, skipped: bool) -> End:
        code = self._child.exit_code if self._child.look() else 128 + signal.SIGKILL
        asked = self._child.ended_by(self._sent - {signal.SIGKILL})
        is_saved = self._schedule.is_saved(watched=self._terms.watched) and self._complete
        return End(exit_code=code, as_asked=asked, is_saved=is_saved, skipped=skipped)


def _told(error: BaseException) -> str:
    hint = getattr(error, "hint", "")
    name = "" if hasattr(error, "hint") else f"{type(error).__name__}: "
    return without_any_secrets(f"{name}{error}" + (f" ({hint})" if hint else ""))
