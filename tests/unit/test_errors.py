"""The tree of errors is what its own drawing says."""

from __future__ import annotations

import inspect
import re

import pytest

from mlmeta import errors
from mlmeta.errors import MlmetaError

DRAWN = {
    match[1]: (len(match[0]) - len(match[0].lstrip(" │├└─")), int(match[2]))
    for match in re.finditer(r"^ *[ │├└─]*(\w+Error) +(\d)(?:   .*)$", errors.__doc__ or "", re.MULTILINE)
}
CLASSES = {
    name: found
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, MlmetaError) and found is not MlmetaError
}


def test_every_class_is_drawn() -> None:
    assert set(DRAWN) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_exit_codes_are_as_drawn(name: str) -> None:
    assert CLASSES[name].exit_code == DRAWN[name][1]


def test_codes_for_machines_are_words_and_differ() -> None:
    def code(found: type[MlmetaError]) -> str:
        return str(MlmetaError.code.fget(found.__new__(found)))  # type: ignore[attr-defined]

    codes = {code(found) for found in CLASSES.values()}
    assert len(codes) == len(CLASSES)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", word) for word in codes)
