"""Which snapshots stay: checked against an oracle that is slow and plain."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.errors import UsageError
from mlmeta.snapshot.layout import moment_of, timestamp_of
from mlmeta.snapshot.retention import Rules, kept, parse_within
from tests.support.examples import examples

_FIRST = datetime(2023, 12, 25, tzinfo=timezone.utc)
_FORMATS = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}

calendars = st.lists(
    st.one_of(
        st.integers(0, 3 * 365 * 24 * 3600),
        st.integers(0, 3 * 365 * 24).map(lambda hour: hour * 3600),
        st.integers(0, 2 * 24 * 3600),
    ),
    max_size=60,
    unique=True,
).map(lambda seconds: [timestamp_of(_FIRST + timedelta(seconds=s)) for s in seconds])
counts = st.integers(0, 6)
rules = st.builds(
    Rules,
    last=counts,
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
    within=st.integers(0, 400).map(lambda days: timedelta(days=days)),
)


def oracle(timestamps: list[str], wanted: Rules) -> set[str]:
    """For each rule by itself: walk from the newest to the oldest, and take the first of each bucket."""
    newest_first = sorted(timestamps)[::-1]
    found = set(newest_first[:1]) | set(newest_first[: wanted.last])
    for name, text in _FORMATS.items():
        buckets: list[str] = []
        for timestamp in newest_first:
            moment = moment_of(timestamp)
            assert moment is not None
            bucket = moment.strftime(text)
            if bucket not in buckets:
                buckets.append(bucket)
                if len(buckets) <= getattr(wanted, name):
                    found.add(timestamp)
    if newest_first and wanted.within:
        newest = moment_of(newest_first[0])
        assert newest is not None
        found |= {t for t in newest_first if newest - (moment_of(t) or newest) <= wanted.within}
    return found


def stay(timestamps: list[str], wanted: Rules) -> set[str]:
    return {timestamp for timestamp, why in kept(timestamps, wanted).items() if why}


@examples(1000)
@given(calendars, rules)
def test_the_same_as_the_oracle(timestamps: list[str], wanted: Rules) -> None:
    assert stay(timestamps, wanted) == oracle(timestamps, wanted)


@examples(300)
@given(calendars, rules, st.sampled_from(["last", *_FORMATS]))
def test_a_larger_rule_never_removes_more(timestamps: list[str], wanted: Rules, name: str) -> None:
    more = Rules(**{**wanted.__dict__, name: getattr(wanted, name) + 1})
    assert stay(timestamps, wanted) <= stay(timestamps, more)


@examples(200)
@given(calendars.filter(bool), rules)
def test_the_newest_always_stays(timestamps: list[str], wanted: Rules) -> None:
    assert max(timestamps) in stay(timestamps, wanted)


def test_a_schedule_that_stopped_empties_nothing() -> None:
    old = [timestamp_of(_FIRST + timedelta(days=day)) for day in range(10)]
    assert stay(old, Rules(within=timedelta(days=3))) == set(old[-4:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert parse_within(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "1y", "-1d", "1d 2h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_within(text)
