"""Which snapshot a person means."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.errors import AmbiguousSelectorError, SnapshotNotFoundError, UsageError
from mlmeta.snapshot.find import select
from mlmeta.snapshot.layout import timestamp_of

THREE = ("20250816_120000", "20250815_232928", "20250815_080000")
MOMENTS = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - the bounds are naive
    datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.just(timezone.utc),
)
CALENDARS = st.lists(MOMENTS, min_size=1, max_size=8).map(
    lambda moments: sorted({timestamp_of(moment) for moment in moments}, reverse=True)
)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("20250815_232928", "20250815_232928"),
        ("20250815_2", "20250815_232928"),
        ("20250816", "20250816_120000"),
        ("latest", "20250816_120000"),
        ("latest~0", "20250816_120000"),
        ("latest~2", "20250815_080000"),
        (" latest ", "20250816_120000"),
        ("2025-08-15T23:29:28Z", "20250815_232928"),
        ("2025-08-15T23:29:27Z", "20250815_080000"),
        ("2025-08-16T01:29:28+02:00", "20250815_232928"),
        ("2025-08-15 23:29:28", "20250815_232928"),
        ("2025-08-15", "20250815_232928"),
        ("2030-01-01", "20250816_120000"),
    ],
)
def test_a_selector_names_a_snapshot(selector: str, expected: str) -> None:
    assert select(selector, THREE) == expected


@pytest.mark.parametrize("selector", ["yesterday", "latest~", "latest~-1", "LATEST", "", "2025-13-01", "../x", "٢٠٢٥"])
def test_nonsense_is_wrong_usage(selector: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(selector, THREE)
    assert "latest" in caught.value.hint


def test_a_prefix_of_several_is_refused_and_they_are_named() -> None:
    with pytest.raises(AmbiguousSelectorError, match="20250815_232928, 20250815_080000"):
        select("20250815", THREE)


@pytest.mark.parametrize("selector", ["19990101", "latest~3", "2025-08-15T07:59:59Z"])
def test_nothing_found_names_the_nearest_three(selector: str) -> None:
    with pytest.raises(SnapshotNotFoundError) as caught:
        select(selector, THREE)
    assert set(caught.value.nearest) == set(THREE)
    assert all(timestamp in caught.value.hint for timestamp in THREE)


def test_the_nearest_are_near_in_time() -> None:
    days = [f"202508{day:02}_120000" for day in range(28, 0, -1)]
    with pytest.raises(SnapshotNotFoundError) as caught:
        select("20250810_110000", days)
    assert set(caught.value.nearest) == {"20250809_120000", "20250810_120000", "20250811_120000"}


def test_leftovers_are_told_from_snapshots() -> None:
    with pytest.raises(SnapshotNotFoundError, match="no summary"):
        select("20250101_000000", THREE, leftovers=["20250101_000000"])


def test_an_empty_storage_says_so() -> None:
    with pytest.raises(SnapshotNotFoundError, match="none") as caught:
        select("latest", ())
    assert caught.value.nearest == ()


@given(CALENDARS, st.data())
def test_every_snapshot_answers_to_its_name_and_its_moment(calendar: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(calendar))
    iso = f"{chosen[:4]}-{chosen[4:6]}-{chosen[6:8]}T{chosen[9:11]}:{chosen[11:13]}:{chosen[13:]}Z"
    assert select(chosen, calendar) == chosen
    assert select(iso, calendar) == chosen
    assert select(f"latest~{calendar.index(chosen)}", calendar) == chosen


@given(CALENDARS, MOMENTS)
def test_an_instant_means_the_newest_at_or_before_it(calendar: list[str], moment: datetime) -> None:
    before = [timestamp for timestamp in calendar if timestamp <= timestamp_of(moment)]
    if before:
        assert select(moment.isoformat(), calendar) == max(before)
    else:
        with pytest.raises(SnapshotNotFoundError):
            select(moment.isoformat(), calendar)


@given(CALENDARS, st.integers(1, 15), st.data())
def test_a_prefix_is_exact_or_refused(calendar: list[str], length: int, data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(calendar))[:length]
    matching = [timestamp for timestamp in calendar if timestamp.startswith(prefix)]
    if len(matching) == 1:
        assert select(prefix, calendar) == matching[0]
    else:
        with pytest.raises(AmbiguousSelectorError):
            select(prefix, calendar)


@given(CALENDARS, st.text(max_size=20))
def test_any_text_is_answered_or_refused_in_words(calendar: list[str], text: str) -> None:
    try:
        assert select(text, calendar) in calendar
    except (UsageError, SnapshotNotFoundError) as error:
        assert error.hint  # noqa: PT017 - either is right
