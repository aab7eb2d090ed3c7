"""Whatever MLflow stores survives backup and restore. In-process stores on SQLite, so that many can be tried."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import Phase, given

from mlmeta import backup, restore
from tests.builders.planned import PlannedStore, make, stores
from tests.support.databases import Databases
from tests.support.examples import examples
from tests.support.plain import plain, rows
from tests.support.reading import data_files

pytestmark = pytest.mark.filterwarnings("ignore")


@examples(
    25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking stores takes minutes
    report_multiple_bugs=False,
)
@given(plan=stores)
def test_hypothesis_made_stores(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, plan: PlannedStore
) -> None:
    folder = tmp_path_factory.mktemp("store")
    source = databases.copy("empty", folder / "source.db")
    with warnings.catch_warnings(action="ignore"):
        make(source, plan)
    saved = str(folder / "backups")
    backup(source, [saved])

    kept = databases.copy("empty", folder / "kept.db")
    into_database = restore(kept, "latest", saved)
    assert into_database.issues == ()
    backup(kept, [str(folder / "again")])
    assert data_files(folder / "backups") == data_files(folder / "again")

    renewed = databases.copy("empty", folder / "renewed.db")
    through_api = restore(renewed, "latest", saved, ids="new")
    assert through_api.issues == ()
    assert plain(renewed) == plain(source)

    once = rows(folder / "renewed.db")
    assert not any(restore(renewed, "latest", saved, ids="new").created.values())
    assert rows(folder / "renewed.db") == once
