"""A refusal explains the differences that it causes, and no others."""

from __future__ import annotations

import pytest

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.stores.proof import Difference, Told
from mlmeta.stores.target import Refusal, Report, model_key, model_keys


def explains(refusal: Refusal, difference: Difference) -> bool:
    return Told(Report(refused=(refusal,))).explains(difference)


LOST = "negative timestamp"
METRIC = Refusal(kind="metric loss (…)", id="r1", reason=LOST, field="metrics[loss]", records=(("run", "r1"),))
VERSION = Refusal(kind="model version", id="m version 2", reason="its source")
MODEL = Refusal(
    kind="registered model",
    id="m",
    reason="its name",
    records=model_keys(RegisteredModel(name="m", versions=(ModelVersion(version=1),))),
)
ALIAS = Refusal(
    kind="alias", id="m@a", reason="it is taken", field="aliases[a]", records=(model_key(RegisteredModel(name="m")),)
)


@pytest.mark.parametrize(
    ("refusal", "difference"),
    [
        (METRIC, Difference(kind="run", id="r1", field="metrics[loss]")),
        (METRIC, Difference(kind="run", id="r1", field="history of loss", metric="metrics[loss]")),
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
        (METRIC, Difference(kind="run", id="r1", field="history of loss 2", metric="metrics[loss 2]")),
        (METRIC, Difference(kind="run", id="r1")),
        (METRIC, Difference(kind="run", id="r2", field="metrics[loss]")),
        (VERSION, Difference(kind="model version", id="m version 1")),
        (ALIAS, Difference(kind="registered model", id="m", field="description")),
        (ALIAS, Difference(kind="model version", id="m version 1")),
    ],
)
def test_not_explained(refusal: Refusal, difference: Difference) -> None:
    assert not explains(refusal, difference)


def test_what_a_refusal_concerns_is_not_printed() -> None:
    assert set(ALIAS.model_dump()) == {"kind", "id", "reason", "field", "code", "hint"}
