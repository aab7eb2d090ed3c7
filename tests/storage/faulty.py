"""A storage behind a proxy that breaks, and the same one without it."""

from __future__ import annotations

from collections.abc import Callable

from mlmeta.errors import MlmetaError
from mlmeta.storage.gcs import GcsStorage
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import Plan


def hasty(location: str, patience: float = 3, wait: float = 0.4) -> GcsStorage:
    """A storage that tries again as often as others, only faster."""
    storage = GcsStorage(location, patience=patience, timeout=(1, wait))
    storage.calls["retry"] = storage.calls["retry"].with_delay(initial=0.01, maximum=0.05)
    return storage


Direct = Callable[[str], GcsStorage]
"""Opens a storage that no fault can reach."""
New = Callable[[], str]
"""Makes an empty storage, and gives its location."""


def every(faults: Plan, act: Callable[[], object]) -> list[int]:
    """The numbers of all requests that an action takes when nothing breaks."""
    faults.heal()
    act()
    assert len(faults.requests) > 3
    return list(range(1, len(faults.requests) + 1))


PASSING = {
    "drop before": fault.drop_before,
    "drop after": fault.drop_after,
    "503 after": fault.unavailable_after,
    "cut": fault.cut,
    "silence": fault.silence,
}
"""Faults that the client gets over by asking again."""


def failure(act: Callable[[], object]) -> MlmetaError | None:
    """How an action fails, if it does."""
    try:
        act()
    except MlmetaError as error:
        return error
    return None
