"""When a guarded store is saved, against a clock that does not wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.guard.others import Attendance, Attended
from mlmeta.guard.schedule import QUIET, Pace, Schedule
from mlmeta.stores.tokens import NOTHING, Token

TIMES = st.lists(st.floats(0, 300), max_size=30).map(sorted)
DURATIONS = st.floats(0.01, 30)


@dataclass
class Run:
    """A guard without a child.

    Args:
        writes: when the store is written.
        duration: of each save.
        good: whether each save succeeds, in turn; all further ones do.
        blind: whether the store can't be watched.
    """

    writes: list[float]
    duration: float
    good: list[bool] = field(default_factory=list)
    blind: bool = False
    rpo: float = 60
    saves: list[tuple[float, float, bool]] = field(default_factory=list)
    now: float = 0
    saving: bool = False

    def __post_init__(self) -> None:
        self.schedule = Schedule(Pace(self.rpo), 0)

    def token(self) -> Token | None:
        written = sum(time <= self.now for time in self.writes)
        return None if self.blind else Token(written, written)

    def until(self, end: float) -> Run:
        """A look a second."""
        while self.now < end:
            self.look()
            if self.schedule.is_due(self.now):
                self.schedule.begin(self.now)
                self.save()
            self.now += 1
        return self

    def look(self) -> None:
        self.finish()
        self.schedule.see(self.token(), self.now)

    def save(self) -> None:
        good = self.good.pop(0) if self.good else True
        self.saving = True
        self.saves.append((self.now, self.now + self.duration, good))

    def finish(self) -> None:
        if self.saving and self.now >= self.saves[-1][1]:
            self.saving = False
            self.schedule.finish(self.saves[-1][1], good=self.saves[-1][2])

    def until_gone(self, gone: float, grace: float) -> Run:
        """The end: ten looks a second. The child is gone at a time."""
        began = self.now
        self.schedule.end(self.now, self.now + grace)
        while self.now < began + 10 * (grace + gone + self.duration):
            alive = self.now < began + gone
            self.look()
            if self.schedule.is_due_at_end(self.now, alive=alive):
                self.schedule.begin_at_end(self.now, alive=alive)
                self.save()
            elif not alive and self.schedule.is_over(self.now):
                break
            self.now += 0.1
        return self

    def delays(self) -> list[float]:
        """How long each write was in no snapshot."""
        ends = [[end for begin, end, good in self.saves if good and begin >= write] for write in self.writes]
        return [min(found, default=float("inf")) - write for found, write in zip(ends, self.writes, strict=True)]


@given(TIMES, DURATIONS)
def test_each_change_is_saved_in_time(writes: list[float], duration: float) -> None:
    run = Run(writes, duration).until(800)
    assert max(run.delays(), default=0) <= run.schedule.effective_rpo
    assert run.schedule.effective_rpo == 60 or duration > 8.9
    assert run.schedule.is_saved(watched=True)


@given(TIMES, DURATIONS, st.lists(st.booleans(), max_size=12))
def test_what_fails_is_tried_again(writes: list[float], duration: float, good: list[bool]) -> None:
    run = Run(writes, duration, good).until(2500)
    assert not run.good or len(run.saves) < 12
    assert run.schedule.is_saved(watched=True) or False in run.good
    for (_, ended, well), (begun, _, _) in pairwise(run.saves):
        assert well or begun - ended <= 61 + QUIET
    for first, second in zip(run.saves, run.saves[1:], strict=False):
        assert second[0] - first[1] >= (4 * duration if first[2] else 1) - 1e-6


@given(TIMES, DURATIONS)
def test_a_fifth_of_the_time_at_most(writes: list[float], duration: float) -> None:
    saves = Run(writes, duration).until(800).saves
    assert all(second[0] - first[1] >= 4 * duration - 1e-6 for first, second in pairwise(saves))
    assert len(saves) <= len(writes) + 1, "and none without a change"


@given(st.floats(0.01, 8))
def test_a_store_that_can_not_be_watched_is_saved_all_the_time(duration: float) -> None:
    saves = Run([], duration, blind=True).until(600).saves
    assert max(second[1] - first[0] for first, second in pairwise(saves)) <= 60


def test_one_slow_save_does_not_set_the_pace() -> None:
    """As while a bucket is away, and the request is repeated until it is there again."""
    schedule, now, rests = Schedule(Pace(), 0), 0.0, []
    for duration in (2, 37, 2, 37, 37, 37):
        schedule.begin(now)
        now += duration
        schedule.finish(now, good=True)
        rests.append((schedule.rests_until - now, schedule.effective_rpo))
        now = schedule.rests_until
    assert rests == [(8, 60), (60, 60), (8, 60), (60, 60), *[(148, 242.5)] * 2]


def test_a_long_look_at_other_guards_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("mlmeta.guard.others.time", clock)
    attendance, looks = Attendance(clock, 3, lambda _: None), []
    for _ in range(1000):
        attendance.turn(ready=True)
        attendance.wait(10)
        if attendance.taken() is not None:
            looks.append(clock.now)
        clock.now += 1
    attendance.stop()
    assert {round(later - earlier) for earlier, later in pairwise(looks)} == {160}, "a minute, and what it takes"


class Clock:
    """Others that take 100 seconds, by a clock of their own."""

    epoch, superseded, now = 1, False, 0.0

    def monotonic(self) -> float:
        return self.now

    def attend(self, *, ready: bool) -> Attended:
        assert ready
        self.now += 100
        return Attended()

    def stop(self) -> None:
        pass


def test_quiet() -> None:
    run = Run([10.2, 12.2], 0.1).until(60)
    assert [begin for begin, _, _ in run.saves] == [0, 18], "what is there is saved at once"


def test_there_need_not_be_a_store() -> None:
    schedule = Schedule(Pace(), 0)
    for now in range(100):
        schedule.see(NOTHING, now)
        assert not schedule.is_due(now)
    assert schedule.is_saved(watched=True)
    schedule.see(Token(1, 1), 100)
    assert schedule.is_due(100)


@given(TIMES, st.floats(0.01, 12), st.floats(0, 12), st.floats(0, 350), st.lists(st.booleans(), max_size=3))
def test_at_the_end_nothing_is_left(
    writes: list[float], duration: float, gone: float, end: float, good: list[bool]
) -> None:
    """Whatever was under way, and however long the child takes: what it wrote is saved, if saving works."""
    run = Run([], duration, good=[])
    run.writes = [write for write in writes if write <= end + gone]
    run.until(end).good = good
    run.until_gone(gone, 8)
    if all(well for _, _, well in run.saves):
        assert run.schedule.is_saved(watched=True)
        assert max(run.delays(), default=0) < float("inf")
    elif not run.schedule.is_saved(watched=True):
        assert run.now >= end + 8, "it was tried for as long as there was time"


@given(st.integers(1, 5), st.floats(0.01, 3))
def test_late_news_count_from_when_they_may_have_happened(late: int, duration: float) -> None:
    schedule = Schedule(Pace(rpo=10, quiet=100), 0)
    schedule.see(Token(0, 0), 0)
    schedule.begin(0)
    schedule.finish(duration, good=True)
    now = 100.0
    schedule.see(Token(0, 7), now, late)
    assert not schedule.is_due(now + 50), "something else was written"
    schedule.see(Token(1, 8), now, late)
    assert schedule.lag(now) == late
    assert schedule.is_due(now + 10 - late - 2)
    schedule.end(now, now + 8)


def test_the_end_does_not_wait_for_statistics() -> None:
    schedule = Schedule(Pace(), 0)
    schedule.see(Token(0, 0), 0)
    schedule.begin(5)
    schedule.finish(6, good=True)
    schedule.see(Token(0, 1), 7)
    assert schedule.is_saved(watched=True)
    schedule.end(8, 16)
    assert not schedule.is_saved(watched=True)
    assert schedule.is_due_at_end(8, alive=True)
