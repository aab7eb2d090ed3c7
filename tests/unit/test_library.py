"""mlmeta as a library: its names, and what a notebook shows of a result."""

from __future__ import annotations

import datetime
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import mlmeta
from mlmeta import errors
from mlmeta.commands import result as results
from mlmeta.commands.backup import BackupResult
from mlmeta.commands.show_runs import run_table
from mlmeta.notebook import ROWS_SHOWN
from mlmeta.schema import Skipped
from mlmeta.stores.opening import registry_of
from mlmeta.stores.rewrite import pairs_of
from tests.builders.snapshots import experiment, model, run, write

HOSTILE = '<img src=x onerror="alert(1)">&\x1b[2J\u202e\n</td><script>'
OURS = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}


class Markup(HTMLParser):
    """Sees that HTML has no markup but ours, each element closed where it belongs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in OURS
        assert all(name == "style" and (value or "").startswith("text-align: ") for name, value in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def shown(value: Any) -> str:
    """What a notebook shows; a result is one short line elsewhere."""
    text = repr(value)
    assert text == str(value)
    assert text.isprintable()
    assert len(text) < 400
    return Markup(value._repr_html_()).text


def test_dir_and_a_star_give_the_public_names_alone() -> None:
    code = "import mlmeta; print(*dir(mlmeta)); from mlmeta import *; print(*sorted({*globals()} & {*dir(mlmeta)}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names, starred = (line.split() for line in done.stdout.splitlines())
    assert [name for name in names if name.startswith("_")] == ["__version__"]
    assert starred == names
    assert {"backup", "open_snapshot", "Run", "SnapshotNotFoundError"} <= {*names}
    with pytest.raises(AttributeError, match="'mlmeta' has no attribute 'bakcup'"):
        mlmeta.bakcup  # noqa: B018


def test_editors_see_the_same_names() -> None:
    """They read what stands below TYPE_CHECKING."""
    source = Path(mlmeta.__file__).read_text()
    assert {*re.findall(r"\b(\w+) as \1\b", source), "__version__"} == {*dir(mlmeta)}


def test_every_error_is_exported() -> None:
    own = inspect.getmembers(errors, lambda one: inspect.isclass(one) and issubclass(one, errors.MlmetaError))
    assert own
    assert all(getattr(mlmeta, name) is found for name, found in own)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two snapshots of hostile names, with a change between them."""
    for name in ("one", HOSTILE):
        records = [experiment(name=HOSTILE), run(run_name=name, params={HOSTILE: HOSTILE}), model(name=HOSTILE)]
        lacking = Skipped(kind="run", id=HOSTILE, reason=HOSTILE)
        write(tmp_path / "b", records, label=HOSTILE, skipped=(lacking,), warnings=(HOSTILE,))
    return tmp_path / "b"


def made(folder: Path) -> Iterator[Any]:
    """A result of each command, and a snapshot."""
    yield mlmeta.open_snapshot(folder)
    yield mlmeta.list_snapshots(folder)
    yield mlmeta.verify(["latest", "latest~1"], folder)
    yield mlmeta.diff("latest~1", "latest", folder)
    yield mlmeta.prune(folder, mlmeta.Rules(last=1), dry_run=True)
    yield mlmeta.copy("latest", folder, folder.parent / "c")
    yield mlmeta.forget("latest", folder.parent / "c", even_last=True)
    yield run_table("latest", str(folder), HOSTILE)
    lacking = Skipped(kind="run", id=HOSTILE, reason=HOSTILE)
    yield BackupResult(
        timestamp="20250815_232928",
        source=HOSTILE,
        storages=(HOSTILE,),
        stats={"runs": 2, HOSTILE: 1},
        size=1,
        seconds=1,
        skipped=(lacking,) * (ROWS_SHOWN + 2),
        warnings=(HOSTILE,) * (ROWS_SHOWN + 2),
    )
    failed = errors.StorageError(HOSTILE)
    yield mlmeta.RestoreResult(
        timestamp="x", storage=HOSTILE, target=HOSTILE, keeps_ids=True, seconds=1, created={HOSTILE: 1}, untouched=""
    )
    yield mlmeta.RestoreResult(timestamp="", storage="b", target="t", keeps_ids=False, seconds=0, untouched=str(failed))


def test_nothing_that_is_shown_in_a_notebook_is_markup(folder: Path) -> None:
    texts = {type(one).__name__: shown(one) for one in made(folder)}
    assert texts.keys() >= {"Snapshot", "ListResult", "VerifyResult", "DiffResult", "PruneResult", "CopyResult"}
    escaped = r"\x1b[2J\u202e\n"
    assert all(escaped in texts[name] for name in ("Snapshot", "ListResult", "DiffResult", "BackupResult"))
    assert texts["BackupResult"].count("… and 2 more") == 2
    assert "run_name" in texts["DiffResult"]


def test_a_result_says_in_a_line_what_came_of_it(folder: Path) -> None:
    said = [repr(one) for one in made(folder)]
    assert re.fullmatch(r"<Snapshot \d{8}_\d{6} in /.*/b/: 1 experiment, 1 run, .*1 model.* of http://a>", said[0])
    assert said[1].startswith("<ListResult 2 snapshots in /")
    assert re.fullmatch(r"<DiffResult 1 change from \d{8}_\d{6} to \d{8}_\d{6}.*>", said[3])
    assert re.fullmatch(r"<PruneResult dry run: 1 kept, 1 removed in .*>", said[4])
    assert said[8].endswith("; 102 issues, 102 warnings>")
    assert said[-1].startswith("<RestoreResult nothing was done: <img")


def test_what_must_be_complete_is_or_raises(folder: Path) -> None:
    *_, whole, partial, _, _ = made(folder)
    assert whole.require_complete() is whole
    with pytest.raises(mlmeta.IncompleteError, match="backup has 102 issues: run <img") as caught:
        partial.require_complete()
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.exit_code is mlmeta.ExitCode.INCOMPLETE
    assert len(error.issues) == ROWS_SHOWN + 2
    assert error.issues[0].startswith("not_saved: run ")
    changed = mlmeta.diff("latest~1", "latest", folder)
    assert changed.require_complete() is changed, "a change is what was asked for"
    next((folder).glob("runs_*")).write_text("[]")
    with pytest.raises(mlmeta.IncompleteError, match="verify has 1 issue: runs_") as caught:
        mlmeta.verify(["latest", "latest~1"], folder).require_complete()
    assert caught.value.exit_code is mlmeta.ExitCode.DIFFERENT


def test_one_text_is_one_name_and_nothing_means_no_storage(folder: Path, tmp_path: Path) -> None:
    """Letters of a tag would keep nothing; a backup into no storage would end well, and be nowhere."""
    assert mlmeta.Rules(tags="release").tags == ("release",)
    none: list[str] = []
    name: Any = "churn"
    wrong: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: mlmeta.backup("sqlite:///none.db", none), "no storage is given"),
        (lambda: mlmeta.forget("latest", none), "no storage is given"),
        (lambda: mlmeta.Rules(last=-1), "keeps less than nothing"),
        (lambda: mlmeta.Rules(within=datetime.timedelta(-1)), "keeps less than nothing"),
        (lambda: mlmeta.restore("sqlite:///x.db", storage=folder, selection=name), "is not a Selection"),
        (lambda: mlmeta.migrate("sqlite:///x.db", "sqlite:///y.db", selection=name), "is not a Selection"),
        (lambda: mlmeta.open_snapshot(Path("gs://bucket/x")), "a Path drops one of the two"),
    )
    for call, said in wrong:
        with pytest.raises(mlmeta.UsageError) as caught:
            call()
        assert said in f"{caught.value} {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_path_is_taken_wherever_a_location_is() -> None:
    names = ("tracking_uri", "registry_uri", "to_registry_uri", "source", "target", "storage", "storages", "of_source")
    calls = [getattr(mlmeta, name) for name in dir(mlmeta) if inspect.isfunction(getattr(mlmeta, name))]
    found = [(one, parameter) for one in calls for parameter in inspect.signature(one).parameters.values()]
    locations = [(one.__name__, parameter) for one, parameter in found if parameter.name in names]
    assert len(locations) > 25
    assert not [(name, str(parameter)) for name, parameter in locations if "Location" not in str(parameter.annotation)]
    assert registry_of(Path("mlruns")) == "mlruns"
    paths: Any = {Path("/old"): Path("/new")}
    assert pairs_of(paths) == (("/old", "/new"),)


def test_every_result_has_a_headline() -> None:
    classes = filter(inspect.isclass, (getattr(mlmeta, name) for name in dir(mlmeta)))
    own = {one for one in classes if issubclass(one, results.Result)} - {results.Result}
    assert len(own) > 6
    assert not [one.__name__ for one in own if "headline" not in vars(one)]
