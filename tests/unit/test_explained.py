"""A refusal explains the differences that it causes, and no others."""

from __future__ import annotations

import pytest

from mlmeta.stores.target import Refusal, Report
from mlmeta.stores.verification import Difference, Told


def explains(refusal: Refusal, difference: Difference) -> bool:
    return Told(Report(refused=(refusal,))).explains(difference)


METRIC = Refusal(kind="metric loss (…)", id="r1", reason="negative timestamp", field="metrics[loss]")
VERSION = Refusal(kind="model version", id="m version 2", reason="its source")
MODEL = Refusal(kind="registered model", id="m", reason="its name")
ALIAS = Refusal(kind="alias", id="m@a", reason="it is taken", field="aliases[a]")


@pytest.mark.parametrize(
    ("refusal", "difference"),
    [
        (METRIC, Difference(kind="run", id="r1", field="metrics[loss]")),
        (METRIC, Difference(kind="run", id="r1", field="history of loss")),
        (VERSION, Difference(kind="model version", id="m version 2")),
        (MODEL, Difference(kind="registered model", id="m")),
        (MODEL, Difference(kind="model version", id="m version 1")),
        (ALIAS, Difference(kind="registered model", id="m", field="aliases[a]")),
    ],
)
def test_explained(refusal: Refusal, difference: Difference) -> None:
    assert explains(refusal, difference)


@pytest.mark.parametrize(
    ("refusal", "difference"),
    [
        (METRIC, Difference(kind="run", id="r1", field="params[lr]")),
        (METRIC, Difference(kind="run", id="r1", field="history of loss 2")),
        (METRIC, Difference(kind="run", id="r1")),
        (METRIC, Difference(kind="run", id="r2", field="metrics[loss]")),
        (VERSION, Difference(kind="model version", id="m version 1")),
        (ALIAS, Difference(kind="registered model", id="m", field="description")),
        (ALIAS, Difference(kind="model version", id="m version 1")),
    ],
)
def test_not_explained(refusal: Refusal, difference: Difference) -> None:
    assert not explains(refusal, difference)
