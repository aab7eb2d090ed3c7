"""Parts of a batch: complete, within MLflow's limits, and smaller each time they are halved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.stores.api.log_batch import ITEMS, PARAMS_OR_TAGS, LogBatch

_COUNTS = st.one_of(st.integers(0, 3), st.sampled_from([99, 100, 101, 999, 1000, 1001, 2500]))
_FEW = st.one_of(st.integers(0, 3), st.sampled_from([97, 98, 99, 100, 101, 250]))


def _batch(metrics: int, params: int, tags: int, seal: int = 0) -> LogBatch:
    def pairs(word: str, count: int) -> tuple[tuple[str, str], ...]:
        return tuple((f"{word}{number}", "v") for number in range(count))

    points = tuple((f"m{number}", (0, 1, 1.0)) for number in range(metrics))
    return LogBatch(points, pairs("p", params), pairs("t", tags), pairs("s", seal))


@given(_COUNTS, _FEW, _FEW, st.integers(0, 2))
def test_requests_hold_everything_once_and_the_seal_last(metrics: int, params: int, tags: int, seal: int) -> None:
    batch = _batch(metrics, params, tags, seal)
    requests = list(batch.requests())
    assert tuple(item for r in requests for item in r.metrics) == batch.metrics
    assert tuple(item for r in requests for item in r.params) == batch.params
    assert tuple(item for r in requests for item in r.tags) == batch.tags
    assert [bool(r.seal) for r in requests] == [False] * (len(requests) - 1) + [bool(seal)]
    for request in requests:
        assert len(request) + len(request.seal) <= ITEMS
        assert len(request.params) <= PARAMS_OR_TAGS
        assert len(request.tags) + len(request.seal) <= PARAMS_OR_TAGS


@given(_COUNTS, _FEW, _FEW)
def test_halves_hold_everything_and_are_smaller(metrics: int, params: int, tags: int) -> None:
    batch = _batch(metrics, params, tags, 1)
    first, second = batch.halves()
    assert first.metrics + second.metrics == batch.metrics
    assert first.params + second.params == batch.params
    assert first.tags + second.tags == batch.tags
    assert not first.seal
    assert not second.seal
    if len(batch) > 1:
        assert 0 < len(second) <= len(first) < len(batch)
