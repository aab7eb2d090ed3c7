"""The configuration file: what it may say, where it is found, and what goes before what."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, Optional

import pytest

from mlmeta.cli import config_keys, options
from mlmeta.cli.config_file import search
from mlmeta.cli.settings import Settings
from mlmeta.errors import ConfigurationError
from tests.support.cli import Cli, Finished
from tests.support.databases import Databases

WHOLE = """
storage = ["first", "second"]
jobs = 4
tracking-uri = "sqlite:///store.db"
verify = false

[backup]
keep-daily = 7
without = ["spans"]
jobs = 5

[show]
experiment = "churn"

[profile.prod]
storage = "prod"
jobs = 6

[profile.prod.backup]
label = "production"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own, without the variables of its surroundings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MLMETA_", "MLFLOW_TRACKING"))]:
        monkeypatch.delenv(name)
    return tmp_path


def write(folder: Path, text: str, name: str = "mlmeta.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def values(command: str, profile: str = "") -> dict[str, object]:
    return {name: value.value for name, value in Settings(profile=profile).of(command).items()}


def refusal(folder: Path, text: str) -> str:
    """What is said about a file: message and hint."""
    write(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        Settings().of("list")
    return f"{caught.value} | {caught.value.hint}"


def origins(done: Finished) -> dict[str, str]:
    """Where each option of one command has its value from."""
    return {
        one["option"]: " ".join(filter(None, (one["source"], one["variable"], one["profile"], one["section"])))
        for one in done.ok().data["settings"]
    }


def test_a_section_goes_before_the_top_and_a_profile_before_both(folder: Path) -> None:
    write(folder, WHOLE)
    assert values("backup") == {
        "storage": ["first", "second"],
        "jobs": 5,
        "tracking_uri": "sqlite:///store.db",
        "keep_daily": 7,
        "without": ["spans"],
    }
    assert values("backup", "prod") == {**values("backup"), "storage": ["prod"], "jobs": 6, "label": "production"}
    assert values("restore", "prod") == {
        "storage": "prod",
        "jobs": 6,
        "tracking_uri": "sqlite:///store.db",
        "verify": False,
    }


def test_the_top_means_what_the_variable_of_that_name_means(folder: Path) -> None:
    """MLMETA_EXPERIMENT limits a backup, and chooses nothing in `show`. Of several storages, readers take one."""
    write(folder, 'experiment = ["a b", "c"]\nstorage = ["one", "two"]\n[diff]\nincremental = true')
    assert values("backup") == {"experiment": ["a b", "c"], "storage": ["one", "two"]}
    assert values("show") == {"storage": "one"}
    assert values("diff") == {"experiment": ["a b", "c"], "storage": "one", "incremental": True}


def test_every_option_of_every_command_is_a_key() -> None:
    """What the keys are comes from the commands, and what Click knows of them is the same."""
    import typer.main

    from mlmeta.cli.app import app

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        long = {o.removeprefix("--"): p for p in command.params for o in p.opts if o.startswith("--") and o != "--help"}
        keys = config_keys.commands()[name]
        assert {key: parameter.name for key, parameter in long.items()} == {k.name: k.parameter for k in keys.values()}
        for key in keys.values():
            assert key.is_list == long[key.name].multiple, f"{name}: {key.name}"


def test_a_parameter_that_python_made_optional_is_a_key() -> None:
    """Up to 3.10, hints say so of each parameter whose default is None."""
    command = config_keys.keys_of(_with_hints(Optional[options.Experiments], options.Yes))  # noqa: UP045 - as they come there
    assert [(key.name, key.is_list, key.value) for key in command.values()] == [
        ("experiment", True, str),
        ("yes", False, bool),
    ]


def _with_hints(first: Any, second: Any) -> Any:
    def command(experiment: Any = None, yes: Any = False) -> None:
        pass

    command.__annotations__ = {"experiment": first, "yes": second, "return": None}
    return command


def test_what_commands_share_has_one_type() -> None:
    """Else a value at the top would fit one of them only."""
    for keys in config_keys.commands().values():
        for key in keys.values():
            if key.shared:
                first = config_keys.shared()[key.name]
                assert (key.value, key.least, key.most, key.is_place) == (
                    *(first.value, first.least, first.most, first.is_place),
                ), key.name


REFUSED = {
    "a key that is near": ('storge = "x"', "mlmeta.toml: unknown key storge | did you mean storage?"),
    "underscores": (
        "[backup]\nkeep_daily = 7",
        "mlmeta.toml: [backup] unknown key keep_daily | did you mean keep-daily?",
    ),
    "of another command": (
        "[list]\nkeep-daily = 7",
        "mlmeta.toml: [list] unknown key keep-daily | list has no option --keep-daily; backup, prune, guard have",
    ),
    "of one command only": (
        "port = 80\nlimit = 5\n[browse]\nport = 80\n[show]\ncolum = 1",
        "mlmeta.toml: [show] unknown key colum | did you mean column?",
    ),
    "not shared": (
        "[profile.a]\n[profile.a.backup]\nincrementel = true",
        "mlmeta.toml: [profile.a.backup] unknown key incrementel | did you mean incremental?",
    ),
    "a command that is near": ("[bakcup]\njobs = 1", "mlmeta.toml: there is no command bakcup | did you mean backup?"),
    "a command as a key": (
        "backup = 1",
        "mlmeta.toml: backup is a command, not an option | write [backup] above its keys",
    ),
    "profiles": ("[profiles.prod]\njobs = 1", "mlmeta.toml: there is no command profiles | did you mean profile?"),
    "an option as a table": ("[storage]\nx = 1", "mlmeta.toml: storage is an option, not a table | write storage = …"),
    "a profile that is a value": (
        "[profile]\nprod = 1",
        "mlmeta.toml: [profile] prod is no profile | write [profile.NAME] above the keys of a profile",
    ),
    "a profile without a name": ('[profile.""]\njobs = 1', "mlmeta.toml: [profile] an empty name is no profile | "),
    "a profile as a key": ('profile = "prod"', "mlmeta.toml: profile is not a table | write [profile.NAME] above "),
    "a number as text": ('jobs = "8"', "mlmeta.toml: jobs: a number is expected, without quotes | "),
    "a text as a number": ("[backup]\nlabel = 5", "mlmeta.toml: [backup] label: a text is expected, in quotes | "),
    "a switch as text": ('[backup]\ndrill = "yes"', "mlmeta.toml: [backup] drill: true or false is expected"),
    "a switch as number": ("[backup]\ndrill = 1", "mlmeta.toml: [backup] drill: true or false is expected"),
    "true as number": ("jobs = true", "mlmeta.toml: jobs: a number is expected"),
    "a number out of range": ("jobs = 0", "mlmeta.toml: jobs: it should be greater than or equal to 1"),
    "a list for one": ('[restore]\nstorage = ["a"]', "mlmeta.toml: [restore] storage: a text is expected"),
    "a number in a list": ('storage = ["a", 5]', "mlmeta.toml: storage: a text is expected"),
    "a word of no choice": ('[restore]\nids = "kept"', "mlmeta.toml: [restore] ids: it should be 'keep' or 'new'"),
    "a date": ("[backup]\nlabel = 2026-11-26", "mlmeta.toml: [backup] label: a text is expected"),
    "nowhere": ("storage = []", "mlmeta.toml: storage: at least one value is expected"),
    "no TOML": ("storage = ", "mlmeta.toml is not TOML: "),
    "deep": ("x = " + "[" * 100_000, "mlmeta.toml is not TOML: "),
    "large": ("#" * (1 << 20) + "#", "mlmeta.toml has more than 1 MiB"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(folder: Path, what: str) -> None:
    text, said = REFUSED[what]
    assert said in refusal(folder, text)


def test_a_mistake_is_found_whatever_command_runs(folder: Path, cli: Cli) -> None:
    """Before anything is done; as one document where JSON was asked for; and help is there all the same."""
    write(folder, '[restore]\njobs = "many"')
    done = cli("backup", "--tracking-uri", "sqlite:///nowhere.db", "--json").ended(2)
    (issue,) = done.document["errors"]
    assert issue["code"] == "configuration"
    assert issue["message"] == "mlmeta.toml: [restore] jobs: a number is expected, without quotes"
    assert done.document["command"] == "backup"
    assert done.document["exit_code"] == 2
    assert "error: mlmeta.toml: [restore] jobs" in cli("list").ended(2).err
    for words in (("list", "--help"), ("--help",), ("--version",), ("--no-config", "list", "-h")):
        assert cli(*words).ok().out
    assert cli("--no-config", "list").ended(5)
    assert cli("list", env={"MLMETA_NO_CONFIG": "1"}).ended(5)


def test_what_a_command_refuses_is_named_with_its_place(folder: Path, cli: Cli) -> None:
    write(folder, '[backup]\numask = "999"')
    error = cli("backup", "--tracking-uri", "sqlite:///nowhere.db").ended(2).err
    assert error.startswith("error: mlmeta.toml: [backup] umask: write an octal number")


def test_usage_errors_are_one_document_too(folder: Path, cli: Cli) -> None:
    for words in (("backup", "--nope"), ("restore",), ("bakcup",), ("list", "--storage"), ("show", "--limit", "x")):
        done = cli(words[0], "--json", *words[1:]).ended(2)
        assert done.document["errors"][0]["code"] == "usage"
        assert done.document["status"] == "error"
    assert cli("backup", "--nope", env={"MLMETA_JSON": "1"}).ended(2).document["command"] == "backup"
    assert "Traceback" not in cli("backup", "--nope").ended(2).err
    assert "--profile goes before the command: mlmeta --profile … list …" in cli("list", "--profile", "x").ended(2).err


def test_the_whole_way(folder: Path, cli: Cli, databases: Databases) -> None:
    """Backup and list from a folder below, by a file with a profile; lists, switches, numbers, choices."""
    source = databases.copy("filled", folder / "store.db")
    write(
        folder,
        'storage = ["one", "two b"]\n[backup]\ncompress = true\nexperiment = ["churn"]\n[profile.other]\nstorage = "x"',
    )
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    deep = Cli(below)
    done = deep("backup", "--tracking-uri", source, "--json").ok()
    assert done.data["storages"] == [f"{folder}/one/", f"{folder}/two b/"]
    assert done.data["experiments"] == ["churn"]
    assert all(file["name"].endswith(".gz") for file in done.data["files"].values())
    assert deep("list", "--json").ok().data["storage"] == f"{folder}/one/"
    assert cli("list", "--json").ok().data["storage"] == "one/"  # the file is here: as it is written there
    assert cli("--profile", "other", "list").ended(5)
    assert cli("list", env={"MLMETA_PROFILE": "other"}).ended(5)
    assert cli("--profile", "other", "list", "--storage", "one").ok()
    assert cli("list", env={"MLMETA_PROFILE": "other", "MLMETA_STORAGE": "one"}).ok()


def test_what_callbacks_and_choices_take_comes_from_the_file_too(folder: Path, cli: Cli, snapshots: Path) -> None:
    """Blanks in names, an argument that is required, choices, OLD=NEW, umask."""
    write(
        folder,
        """
        umask = "027"
        [show]
        experiment = "churn"
        column = ["status", "params.lr"]
        limit = 1
        [restore]
        timestamp = "latest"
        tracking-uri = "sqlite:///new.db"
        experiment = "churn"
        only = ["runs"]
        ids = "keep"
        on-conflict = "skip"
        rewrite-artifact-prefix = ["gs://a b=gs://c", "gs://d=gs://e"]
        dry-run = true
        [copy]
        from = "backups"
        to = "copies"
        """,
    )
    assert cli("show", "--json").ok().data["columns"] == ["attributes.status", "params.lr"]
    assert cli("restore", "--json").ok().data["dry_run"]
    assert not (folder / "new.db").exists()
    assert cli("copy").ok()
    assert (folder / "copies").stat().st_mode & 0o777 == 0o750
    assert "'nonsense' is not OLD=NEW" in cli("restore", "--rewrite-artifact-prefix", "nonsense").ended(2).err


def test_what_goes_before_what(folder: Path, cli: Cli) -> None:
    write(folder, "jobs = 2\n[restore]\nundelete = true\n[profile.prod]\njobs = 3")
    env: dict[str, str | None] = {"MLMETA_JOBS": "4", "MLMETA_UNDELETE": "0", "MLFLOW_TRACKING_URI": "http://h"}
    prod = ("--profile", "prod", "config", "--json", "restore")
    assert origins(cli(*prod, "--jobs", "5", env=env))["jobs"] == "option"
    assert origins(cli(*prod, env=env))["jobs"] == "environment MLMETA_JOBS"
    assert origins(cli(*prod))["jobs"] == "profile prod [profile.prod]"
    assert origins(cli("config", "--json", "restore"))["jobs"] == "file"
    assert origins(cli("--no-config", "config", "--json", "restore"))["jobs"] == "default"
    found = origins(cli(*prod, env=env))
    assert found["undelete"] == "environment MLMETA_UNDELETE"
    assert found["tracking-uri"] == "environment MLFLOW_TRACKING_URI"
    assert origins(cli(*prod))["undelete"] == "file [restore]"
    values = {one["option"]: one["value"] for one in cli(*prod, "--jobs", "5", env=env).ok().data["settings"]}
    assert (values["jobs"], values["undelete"], values["on-conflict"], values["timestamp"]) == (
        5,
        False,
        "fail",
        "latest",
    )


def test_a_variable_that_goes_before_the_profile_of_this_call_is_told(folder: Path, cli: Cli) -> None:
    """A restore into what the shell has set for training, and not into prod, must not come as a surprise."""
    write(folder, '[profile.prod]\nstorage = "prod"\nonly = "runs"')
    env: dict[str, str | None] = {"MLMETA_STORAGE": "mine"}
    warning = "warning: MLMETA_STORAGE of the environment goes before storage of profile prod\n"
    assert warning in cli("--profile", "prod", "list", env=env).ended(5).err
    assert warning not in cli("list", env={**env, "MLMETA_PROFILE": "prod"}).ended(5).err
    assert warning not in cli("--profile", "prod", "list", env={"MLMETA_STORAGE": "prod"}).ended(5).err
    assert warning not in cli("--profile", "prod", "list", "--storage", "x", env=env).ended(5).err
    diff = ("--profile", "prod", "diff", "latest", "latest", "--storage", "x")
    assert "warning" not in cli(*diff, env={"MLMETA_ONLY": "runs"}).ended(5).err
    assert "warning: MLMETA_ONLY of" in cli(*diff, env={"MLMETA_ONLY": "models"}).ended(5).err


def test_values_are_shown_with_their_origin_and_without_credentials(folder: Path, cli: Cli) -> None:
    write(folder, 'storage = "bk"\n[profile.prod]\ntracking-uri = "postgresql://me:hunter2@h/db"')
    env: dict[str, str | None] = {"MLFLOW_REGISTRY_URI": "http://me:hunter3@h"}
    shown = cli("--profile", "prod", "config", env=env).ok().out
    assert f"Configuration file: {folder}/mlmeta.toml\nProfile: prod\n" in shown
    rows = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if "  " in line}
    assert rows["tracking-uri"].startswith("tracking-uri postgresql://h/db profile prod")
    assert rows["registry-uri"].startswith("registry-uri http://h environment MLFLOW_REGISTRY_URI")
    assert rows["storage"] == "storage bk mlmeta.toml"
    assert "for" not in shown
    write(folder, 'storage = ["bk", "two"]')
    assert re.search(r"bk +mlmeta\.toml, for list, show, diff and ", cli("config").ok().out)
    write(folder, '[profile.prod]\ntracking-uri = "postgresql://me:hunter2@h/db"\nstorage = "x"')
    for words in (("config",), ("config", "backup"), ("config", "--json"), ("config", "restore", "--verbose")):
        done = cli("--profile", "prod", *words, env=env).ok()
        assert "hunter" not in done.out + done.err
    help_text = cli("--profile", "prod", "backup", "--help").ok().out
    assert "hunter" not in help_text
    assert "default: backups" in help_text, "of the command, not of the file"
    assert "All options have their defaults" in cli("--no-config", "config").ok().out
    assert cli("config", "backup", "--help").ok().out == cli("backup", "--help").ok().out
    assert cli("config", "bakcup").ended(2).err.startswith("error: no such command: bakcup\n  did you mean backup?")
    assert "--jobs" in cli("config", "backup", "--jobs", "many").ended(2).err


PLACES = {
    "backups": "/above/backups",
    "../x": "/above/../x",
    "/abs": "/abs",
    "~/x": "~/x",
    "gs://bucket/x": "gs://bucket/x",
    "sqlite:///mlflow.db": "sqlite:////above/mlflow.db",
    "sqlite:////abs.db": "sqlite:////abs.db",
    "sqlite:///:memory:": "sqlite:///:memory:",
    "sqlite+pysqlite:///a b.db": "sqlite+pysqlite:////above/a b.db",
    "http://h": "http://h",
    "./mlruns": "/above/mlruns",
    "databricks": "databricks",
    "same": "same",
    "file:/abs": "file:/abs",
    "": "",
}


@pytest.mark.parametrize("place", PLACES)
def test_places_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The same folder is meant wherever one stands below it; where the file is, places stay as they were written."""
    write(folder, f'tracking-uri = "{place}"\n[backup]\nlabel = "backups"')
    assert values("backup")["tracking_uri"] == place
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert values("backup") == {"tracking_uri": PLACES[place].replace("/above", str(folder)), "label": "backups"}


def test_the_nearest_file_counts_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = folder / "a" / "b"
    write(below, "[project]\nname = 'mlmeta'", "pyproject.toml")
    write(folder, "jobs = 1\nyes = true")
    monkeypatch.chdir(below)
    assert values("restore") == {"jobs": 1, "yes": True}, "a pyproject.toml without the table is none"
    write(
        folder / "a",
        "[tool.mlmeta]\njobs = 2\n[tool.mlmeta.restore]\nundelete = true\n[tool.ruff]\nx = 1",
        "pyproject.toml",
    )
    assert values("restore") == {"jobs": 2, "undelete": True}
    write(folder / "a", "jobs = 3")
    (folder / "a" / "mlmeta.toml").write_bytes(b"\xef\xbb\xbfjobs = 3\r\n")  # as editors on Windows save it
    assert values("restore") == {"jobs": 3}, "mlmeta.toml goes before pyproject.toml"
    write(below, "= no TOML, and nothing about us", "pyproject.toml")
    assert values("restore") == {"jobs": 3}
    write(below, "[tool.mlmeta]\njob = 1", "pyproject.toml")
    with pytest.raises(ConfigurationError, match=r"pyproject.toml: \[tool.mlmeta\] unknown key job"):
        values("restore")


def test_a_file_that_was_named(folder: Path, cli: Cli) -> None:
    write(folder, "jobs = 1")
    other = write(folder / "else where", 'jobs = 2\nstorage = "bk"', "my.toml")
    done = cli("--config", str(other), "config", "--json").ok()
    assert done.data["file"] == str(other)
    found = {one["option"]: one["value"] for one in done.data["settings"]}
    assert found == {"jobs": 2, "storage": [f"{folder}/else where/bk"]}
    assert cli("config", "--json", env={"MLMETA_CONFIG": "else where/my.toml"}).ok().data["file"] == str(other)
    without: dict[str, str | None] = {"MLMETA_NO_CONFIG": "1"}
    assert cli("--config", str(other), "config", "--json", env=without).ok().data["file"] == str(other)
    assert cli("--no-config", "config", "--json", env={"MLMETA_CONFIG": str(other)}).ok().data["file"] == ""
    assert "exclude each other" in cli("--config", str(other), "--no-config", "list").ended(2).err
    assert "No such file" in cli("--config", "gone.toml", "list").ended(2).err
    assert "Is a directory" in cli("--config", ".", "list").ended(2).err
    write(folder, "[tool.ruff]", "pyproject.toml")
    assert "has no table [tool.mlmeta]" in cli("--config", "pyproject.toml", "list").ended(2).err
    assert f"configuration file: {other}\n" in cli("--config", str(other), "config", "--verbose").ok().err
    assert "no profile 'x' (from MLMETA_PROFILE)" in cli("list", env={"MLMETA_PROFILE": "x"}).ended(2).err
    assert "there is no configuration file" in cli("--no-config", "--profile", "x", "list").ended(2).err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_used_unasked(folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write into a folder above must not choose where backups go, nor silently that they go elsewhere."""
    other = 12345
    mine, below = folder / "shared" / "mine", Cli(folder / "shared" / "mine")
    mine.mkdir(parents=True)
    path = write(folder / "shared", 'storage = "/theirs"')
    os.chown(path, other, other)
    error = below("list").ended(2).err
    assert f"{path} belongs to another user, number {other}: it is not used unasked" in error
    assert "MLMETA_CONFIG=" in error
    assert "--no-config" in error
    assert "/theirs" in below("--config", str(path), "list").ended(5).err
    assert "backups" in below("--no-config", "list").ended(5).err
    write(mine, "jobs = 1")
    assert "backups" in below("list").ended(5).err, "a nearer one of one's own counts"
    (mine / "mlmeta.toml").unlink()
    assert "/theirs" in below("list", env={"SUDO_UID": str(other)}).ended(5).err, "who called sudo is no other"
    path.rename(folder / "shared" / "pyproject.toml")
    assert "backups" in below("list").ended(5).err, "a pyproject.toml without the table says nothing"
    (folder / "shared" / "pyproject.toml").write_text('[tool.mlmeta]\nstorage = "/theirs"')
    assert "belongs to another user" in below("list").ended(2).err
    link = mine / "mlmeta.toml"
    link.symlink_to(write(folder / "elsewhere", "jobs = 1"))
    os.chown(link, other, other, follow_symlinks=False)
    assert "belongs to another user" in below("list").ended(2).err, "nor is a link of theirs to a file of mine"


def test_odd_files_do_not_stop_or_hold_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pyproject.toml")
    assert search() is None
    os.mkfifo(folder / "mlmeta.toml")
    with pytest.raises(ConfigurationError, match="is not a file"):
        search()
    (folder / "mlmeta.toml").unlink()
    (folder / "mlmeta.toml").symlink_to("mlmeta.toml")
    assert search() is None, "a link that leads nowhere is no file"
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    shutil.rmtree(folder / "gone")
    assert search() is None
