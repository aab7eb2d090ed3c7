"""Users and permissions of basic-auth: from any kind of database into any other, and what stands in their way."""

from __future__ import annotations

import shutil
import stat
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

import mlmeta
from mlmeta import backup, restore
from mlmeta.errors import ConflictError, ConnectionFailedError, ExitCode, IncompatibleStoreError, UsageError
from mlmeta.schema import AUTH, AUTH_TABLES, AuthRow, Selection
from mlmeta.stores.sql.auth import blank_auth, newest_revision
from tests.builders.auth import PASSWORDS, add_user, fill_auth, upgrade
from tests.sql.helpers import digests
from tests.support import hostile
from tests.support.databases import Databases

pytest.importorskip("flask_wtf", reason="basic-auth needs Flask-WTF")
ONLY = Selection(only="auth")


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database of basic-auth. Not to be changed."""
    path = tmp_path_factory.mktemp("auth") / "basic_auth.db"
    fill_auth(f"sqlite:///{path}", ["0"])
    return path


@pytest.fixture(scope="module")
def backups(auth: Path, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a snapshot of a store and of that database. Not to be written to."""
    folder = str(tmp_path_factory.mktemp("backups"))
    assert backup(databases.uri("filled"), folder, auth_uri=f"sqlite:///{auth}").exit_code == ExitCode.DONE
    return folder


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/basic_auth.db"


def saved(databases: Databases, uri: str, folder: Path) -> mlmeta.Snapshot:
    backup(databases.uri("filled"), str(folder), auth_uri=uri)
    return mlmeta.open_snapshot(str(folder), "latest")


def change(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def told(result: mlmeta.RestoreResult) -> list[str]:
    return [issue.message for issue in result.issues]


def test_a_database_goes_into_a_snapshot_and_back(backups: str, target: str) -> None:
    snapshot = mlmeta.open_snapshot(backups, "latest")
    rows = list(snapshot.records(AUTH))
    assert [row.row["username"] for row in rows if row.table == "users"] == list(PASSWORDS)
    assert snapshot.summary.stats["users"] == len(PASSWORDS)
    assert snapshot.summary.auth_revision == newest_revision()
    done = restore("", "latest", backups, selection=ONLY, auth_uri=target)
    assert (done.exit_code, done.created) == (ExitCode.DONE, {"auth rows": len(rows)})
    assert done.comparison is not None
    assert done.comparison.matching == {"auth row": len(rows)}
    again = restore("", "latest", backups, selection=ONLY, auth_uri=target)
    assert (again.exit_code, again.created, again.present) == (ExitCode.DONE, {}, {"auth rows": len(rows)})


def test_users_and_permissions_move_with_their_store(
    auth: Path, backups: str, databases: Databases, target: str, tmp_path: Path
) -> None:
    uris = {"auth_uri": f"sqlite:///{auth}", "to_auth_uri": target}
    done = mlmeta.migrate(databases.uri("filled"), f"sqlite:///{tmp_path}/new.db", **uris)
    assert done.exit_code == ExitCode.DONE
    assert digests(saved(databases, target, tmp_path))["auth"] == digests(mlmeta.open_snapshot(backups))["auth"]
    for options, says in (
        ({"auth_uri": "same"}, "without --to-auth-uri"),
        ({"to_auth_uri": "same"}, "without --auth-uri"),
        ({"ids": "new", **uris}, "would be new ones"),
        ({"selection": ONLY}, "needs --auth-uri"),
        ({"storages": "gs://bucket", **uris}, "password hashes"),
    ):
        with pytest.raises(UsageError, match=says):
            mlmeta.migrate("sqlite:///none.db", "sqlite:///no.db", **options)


def test_nobody_is_let_into_another_experiment_that_has_the_id(
    databases: Databases, target: str, tmp_path: Path
) -> None:
    """The experiment is left out as its id is taken; so are permissions for it and its scorers."""
    source, theirs = (databases.copy(kind, tmp_path / f"{kind}.db") for kind in ("filled", "empty"))
    fill_auth(f"sqlite:///{tmp_path}/from.db", ["0", "1"])
    scorer = "'scorer', '1/judge', 'EDIT' FROM role_permissions WHERE resource_pattern = '1'"
    columns = "role_permissions (role_id, resource_type, resource_pattern, permission)"
    change(f"sqlite:///{tmp_path}/from.db", f"INSERT INTO {columns} SELECT role_id, {scorer}")
    backup(source, str(tmp_path / "b"), auth_uri=f"sqlite:///{tmp_path}/from.db")
    assert MlflowClient(theirs).create_experiment("secret plans") == "1"
    words = {"storage": str(tmp_path / "b"), "auth_uri": target, "on_conflict": "skip"}
    planned, done = restore(theirs, dry_run=True, **words), restore(theirs, **words)
    assert planned.plan is not None
    assert planned.plan.create == done.created
    assert done.exit_code == ExitCode.INCOMPLETE
    kept_out = [text for text in told(done) if text.endswith("experiment 1 of the snapshot is not restored")]
    assert len(kept_out) == 4, told(done)
    with sa.create_engine(target, poolclass=sa.NullPool).connect() as connection:
        given = connection.exec_driver_sql("SELECT resource_pattern FROM role_permissions").scalars().all()
    assert sorted(given) == ["*", "0", "0", "churn"]


def made_by_hand(uri: str) -> str:
    """The tables of basic-auth where MLflow itself can't make them: with other names for its foreign keys."""
    metadata = sa.MetaData()
    with blank_auth() as blank:
        metadata.reflect(blank)
    for table in metadata.tables.values():
        for key in table.foreign_key_constraints:
            key.name = None
    metadata.create_all(sa.create_engine(uri, poolclass=sa.NullPool))
    change(uri, f"INSERT INTO alembic_version_auth VALUES ('{newest_revision()}')")
    return uri


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_any_database_gives_the_same_bytes(
    kind: str, backups: str, databases: Databases, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue(kind)()
    if kind == "mysql":
        made_by_hand(uri)
    done = restore("", "latest", backups, selection=ONLY, auth_uri=uri)
    assert done.exit_code == ExitCode.DONE
    assert digests(saved(databases, uri, tmp_path))["auth"] == digests(mlmeta.open_snapshot(backups, "latest"))["auth"]
    assert add_user(uri, "carol", "carol-password-1") == len(PASSWORDS) + 1, "the counter is behind"
    assert add_user(uri, "dave", "dave-password-12") == len(PASSWORDS) + 2


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_tables_may_lie_in_the_tracking_database(
    kind: str, auth: Path, backups: str, databases: Databases, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = f"sqlite:///{tmp_path}/all.db" if kind == "sqlite" else request.getfixturevalue(kind)()
    done = restore(uri, "latest", backups, auth_uri="same")
    assert done.exit_code == ExitCode.DONE
    first = mlmeta.open_snapshot(backups, "latest")
    found = backup(uri, str(tmp_path / "with"), auth_uri="same")
    assert found.exit_code == ExitCode.DONE
    assert digests(mlmeta.open_snapshot(str(tmp_path / "with"), "latest")) == digests(first)
    without = backup(uri, str(tmp_path / "without"))
    assert without.exit_code == ExitCode.DONE
    assert "auth" not in without.files
    assert [one for one in without.warnings if "--auth-uri same" in one]


def test_mysql_is_refused_as_mlflow_can_not_use_it(backups: str, mysql: Callable[[], str], tmp_path: Path) -> None:
    with pytest.raises(IncompatibleStoreError, match="two of its foreign keys have the same name"):
        restore(f"sqlite:///{tmp_path}/store.db", "latest", backups, auth_uri=mysql())
    assert not (tmp_path / "store.db").exists()


def test_what_the_target_has_is_never_overwritten(backups: str, target: str) -> None:
    """A server that started on an empty database has made its admin anew, with another password."""
    fill_auth(target, [], names=["admin"])
    with pytest.raises(ConflictError, match=r"users 1 \(admin\): the target has it with other content"):
        restore("", "latest", backups, selection=ONLY, auth_uri=target)
    done = restore("", "latest", backups, selection=ONLY, auth_uri=target, on_conflict="skip")
    assert done.exit_code == ExitCode.INCOMPLETE
    assert told(done) == ["auth row users 1 (admin): the target has it with other content: password_hash"]
    assert done.created == {"auth rows": done.comparison.compared["auth row"] - 1} if done.comparison else False


def test_no_permission_comes_to_somebody_else(backups: str, target: str) -> None:
    """The target has given the ids of alice and bob to others."""
    fill_auth(target, [], names=["admin", "mallory", "eve"])
    done = restore("", "latest", backups, selection=ONLY, auth_uri=target, on_conflict="skip")
    rows = sa.create_engine(target).connect().exec_driver_sql("SELECT user_id FROM user_role_assignments").all()
    assert rows == []
    assert "auth row user_role_assignments 1: the target has another of users under this user_id" in told(done)


def test_a_name_that_is_taken_is_a_conflict(backups: str, target: str) -> None:
    fill_auth(target, [], names=["admin"])
    change(target, "DELETE FROM users", "INSERT INTO users VALUES (9, 'alice', 'x', 0)")
    done = restore("", "latest", backups, selection=ONLY, auth_uri=target, on_conflict="skip")
    assert "auth row users 2 (alice): its username belong to another row of the target" in told(done)
    assert "auth row user_role_assignments 1: the target has another of users under this user_id" in told(done)


def test_a_plan_says_what_a_restore_does(backups: str, target: str, tmp_path: Path) -> None:
    plan = restore("", "latest", backups, selection=ONLY, auth_uri=target, dry_run=True)
    assert not (tmp_path / "basic_auth.db").exists()
    done = restore("", "latest", backups, selection=ONLY, auth_uri=target)
    assert plan.plan is not None
    assert plan.plan.create == done.created
    change(target, "UPDATE users SET is_admin = 1 WHERE username = 'bob'")
    plan = restore("", "latest", backups, selection=ONLY, auth_uri=target, dry_run=True)
    assert plan.exit_code == ExitCode.FAILED
    assert told(plan) == ["auth row users 3 (bob): the target has it with other content: is_admin"]


def test_nothing_is_written_anywhere_where_users_are_in_conflict(backups: str, target: str, tmp_path: Path) -> None:
    fill_auth(target, [], names=["admin"])
    with pytest.raises(ConflictError, match="nothing was written"):
        restore(f"sqlite:///{tmp_path}/store.db", "latest", backups, auth_uri=target)
    assert not (tmp_path / "store.db").exists()


def test_files_are_for_their_owner_only(auth: Path, databases: Databases, tmp_path: Path) -> None:
    """Whatever --umask lets others read; a restored SQLite file as well."""
    folder, copied, restored = tmp_path / "backups", tmp_path / "copied", tmp_path / "restored.db"
    before, mlmeta.storage.LocalStorage.umask = mlmeta.storage.LocalStorage.umask, 0o022
    try:
        backup(databases.uri("filled"), str(folder), auth_uri=f"sqlite:///{auth}", compress=True)
        mlmeta.copy("latest", str(folder), str(copied))
    finally:
        mlmeta.storage.LocalStorage.umask = before
    restore("", "latest", str(copied), selection=ONLY, auth_uri=f"sqlite:///{restored}")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (*folder.iterdir(), *copied.iterdir(), restored)}
    secret = {path for path in modes if path.name.startswith("auth_")} | {restored}
    assert len(secret) == 3
    assert {modes[path] for path in secret} == {0o600}
    assert {mode for path, mode in modes.items() if path not in secret} == {0o644}


def test_a_snapshot_without_users_is_no_substitute(auth: Path, databases: Databases, tmp_path: Path) -> None:
    """Retention keeps the last of each, and nothing is taken to be unchanged."""
    store, folder, uri = databases.uri("filled"), str(tmp_path / "backups"), f"sqlite:///{auth}"
    first = backup(store, folder, auth_uri=uri)
    assert not backup(store, folder, if_changed=True).unchanged_since
    assert backup(store, folder, auth_uri=uri, if_changed=True).unchanged_since == first.timestamp
    backup(store, folder, keep=mlmeta.Rules(last=1))
    states = {info.timestamp: info.auth for info in mlmeta.list_snapshots(folder).snapshots}
    assert list(states.values()) == [False, True]
    shutil.copy(auth, tmp_path / "changed.db")
    change(f"sqlite:///{tmp_path}/changed.db", "UPDATE users SET is_admin = 1")
    assert not backup(store, folder, auth_uri=f"sqlite:///{tmp_path}/changed.db", if_changed=True).unchanged_since


def test_a_difference_tells_no_hash(auth: Path, databases: Databases, tmp_path: Path) -> None:
    changed = tmp_path / "changed.db"
    shutil.copy(auth, changed)
    change(f"sqlite:///{changed}", "UPDATE users SET password_hash = 'scrypt:other' WHERE username = 'bob'")
    folder = str(tmp_path / "backups")
    backup(databases.uri("filled"), folder, auth_uri=f"sqlite:///{auth}")
    backup(databases.uri("filled"), folder, auth_uri=f"sqlite:///{changed}")
    (one,) = mlmeta.diff("latest~1", "latest", folder).comparison.changes
    assert (one.kind, one.id, one.name, one.field) == ("auth row", "users 3", "bob", "row[password_hash]")
    assert (one.before, one.after) == ("a secret", "another")


def test_hundreds_of_users_go_into_postgresql(
    auth: Path, databases: Databases, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    """By COPY."""
    large, uri = tmp_path / "large.db", postgres()
    shutil.copy(auth, large)
    some = ", ".join(f"({number}, 'user\t{number}', 'scrypt:{number}', {number % 2})" for number in range(100, 500))
    change(f"sqlite:///{large}", f"INSERT INTO users VALUES {some}")
    snapshot = saved(databases, f"sqlite:///{large}", tmp_path / "backups")
    assert restore("", "latest", str(tmp_path / "backups"), selection=ONLY, auth_uri=uri).exit_code == ExitCode.DONE
    assert digests(saved(databases, uri, tmp_path / "again"))["auth"] == digests(snapshot)["auth"]
    assert add_user(uri, "carol", "carol-password-1") == 500


def test_no_password_of_an_address_is_told(auth: Path, databases: Databases, tmp_path: Path) -> None:
    secret = "postgresql+psycopg://ann:sesame-1@127.0.0.1:1/auth"
    with pytest.raises(ConnectionFailedError) as refused:
        backup(databases.uri("filled"), str(tmp_path / "backups"), auth_uri=secret)
    assert "sesame" not in "".join(traceback.format_exception(refused.value))


def test_rows_of_an_older_schema_go_through_the_migrations(tmp_path: Path, databases: Databases, target: str) -> None:
    """MLflow 2.22 keeps permissions in tables that 3.17 does not read: put there as they are, a grant were lost."""
    old = f"sqlite:///{tmp_path}/old.db"
    with blank_auth("8606fa83a998") as blank, sa.create_engine(old).begin() as connection:
        for table in ("users", "experiment_permissions", "registered_model_permissions"):
            made = blank.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{table}'").scalar_one()
            connection.exec_driver_sql(made)
        connection.exec_driver_sql("INSERT INTO users VALUES (1, 'alice', 'scrypt:x', 0)")
        connection.exec_driver_sql("INSERT INTO experiment_permissions VALUES (1, '7', 1, 'EDIT')")
    snapshot = saved(databases, old, tmp_path / "backups")
    assert snapshot.summary.auth_revision == ""
    done = restore("", "latest", str(tmp_path / "backups"), selection=ONLY, auth_uri=target)
    assert done.exit_code == ExitCode.DONE
    found = (
        sa.create_engine(target)
        .connect()
        .exec_driver_sql(
            "SELECT username, resource_type, resource_pattern, permission FROM users "
            "JOIN user_role_assignments ON user_id = users.id JOIN role_permissions USING (role_id)"
        )
    )
    assert [tuple(row) for row in found] == [("alice", "experiment", "7", "EDIT")]
    upgrade(old)
    upgraded = saved(databases, old, tmp_path / "upgraded")
    assert digests(upgraded)["auth"] == digests(saved(databases, target, tmp_path / "restored"))["auth"]


def test_what_can_not_be_done_is_refused_at_once(
    auth: Path, backups: str, databases: Databases, target: str, tmp_path: Path
) -> None:
    store, uri = databases.uri("filled"), f"sqlite:///{auth}"
    folder = str(tmp_path / "backups")
    with pytest.raises(UsageError, match="would put password hashes into gs://bucket") as refused:
        backup(store, [folder, "gs://bucket/x"], auth_uri=uri)
    assert "--include-password-hashes" in refused.value.hint
    assert not Path(folder).exists()
    with pytest.raises(UsageError, match="is not one"):
        backup("http://127.0.0.1:1", folder, auth_uri="same")
    with pytest.raises(UsageError, match="is not a database"):
        backup(store, folder, auth_uri="http://127.0.0.1:1")
    with pytest.raises(IncompatibleStoreError, match="has no users of basic-auth"):
        backup(store, folder, auth_uri=store)
    first = backup(store, folder, auth_uri=uri)
    backup(store, folder)
    with pytest.raises(UsageError, match="has no users and permissions of basic-auth") as refused:
        restore(f"sqlite:///{tmp_path}/store.db", "latest", folder, auth_uri=target)
    assert f"or restore {first.timestamp}, which has them" in refused.value.hint
    with pytest.raises(UsageError, match="--only auth needs --auth-uri"):
        restore("", "latest", backups, selection=ONLY)
    with pytest.raises(UsageError, match="permissions would go to the wrong experiments"):
        restore(databases.copy("empty", tmp_path / "store.db"), "latest", backups, auth_uri=target, ids="new")
    assert not (tmp_path / "basic_auth.db").exists()


def test_an_older_or_foreign_database_is_refused(backups: str, target: str) -> None:
    fill_auth(target, [], names=["admin"])
    change(target, "UPDATE alembic_version_auth SET version_num = 'c3d4e5f6a7b8'")
    with pytest.raises(IncompatibleStoreError, match="of an older MLflow"):
        restore("", "latest", backups, selection=ONLY, auth_uri=target)
    change(target, "DROP TABLE alembic_version_auth", "DROP TABLE users", "CREATE TABLE users (name TEXT)")
    with pytest.raises(IncompatibleStoreError, match="is not of basic-auth"):
        restore("", "latest", backups, selection=ONLY, auth_uri=target)


def test_tables_of_mlflow_to_come_are_saved_as_well(auth: Path, databases: Databases, tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    shutil.copy(auth, newer)
    change(f"sqlite:///{newer}", "CREATE TABLE badges (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))")
    change(f"sqlite:///{newer}", "INSERT INTO badges VALUES (4, 2)")
    snapshot = saved(databases, f"sqlite:///{newer}", tmp_path / "backups")
    assert list(snapshot.records(AUTH))[-1] == AuthRow(table="badges", key={"id": 4}, row={"user_id": 2})


@pytest.mark.parametrize("where", ["same", "a file of its own"])
def test_no_row_comes_into_another_table(
    where: str, backups: str, databases: Databases, tmp_path: Path, target: str
) -> None:
    """Whoever may write into a storage may write a snapshot."""

    def change(snapshot: hostile.Snapshot) -> None:
        lines = [row.to_line() for row in (*mlmeta.open_snapshot(backups, "latest").records(AUTH), *rows)]
        snapshot.lines("auth", *lines)
        snapshot.fields["stats"]["auth_rows"] = len(lines)

    job = {"job_name": "x", "params": "{}", "status": 0, "retry_count": 0, "creation_time": 1, "last_update_time": 1}
    rows = [
        AuthRow(table="alembic_version_auth", key={"version_num": "zzz"}, row={}),
        AuthRow(table="jobs", key={"id": "x"}, row=job),
    ]
    folder = str(hostile.build(Path(backups), tmp_path, change).folder)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    done = restore(store, hostile.BAD, folder, auth_uri="same" if where == "same" else target, on_conflict="skip")
    named = {issue.split("'s basic-auth has no table ")[-1].split(" (")[0] for issue in told(done)}
    assert (done.exit_code, named) == (ExitCode.INCOMPLETE, {"alembic_version_auth", "jobs"})
    with sa.create_engine(store, poolclass=sa.NullPool).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 0


def test_the_tables_are_those_that_mlflow_makes() -> None:
    with blank_auth() as connection:
        found = set(sa.inspect(connection).get_table_names())
    assert found == {*AUTH_TABLES, "alembic_version_auth"}
