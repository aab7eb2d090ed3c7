"""Every command that reads a storage, on one with a snapshot that somebody prepared: in a process of its own, with
little memory, and with an eye on what it opens.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.cli import FORKS
from tests.support.hostile import BAD, GOOD

SPARE = 300 << 20
"""Bytes that all of them may take together, beyond those of a process that has MLflow loaded."""
PATIENCE = 60
"""Seconds for all commands on one storage."""
COMMANDS = (
    "list",
    "show",
    "models",
    "verify",
    "quick",
    "restore",
    "browse",
    "copy",
    "missing",
    "diff",
    "page",
    "prune",
    "backup",
)
Found = dict[str, Any]


def run(grounds: Sequence[Path], database: str) -> list[Found]:
    """Run all commands on each storage; what each came to, by its name: an exit code, or how it crashed.

    Args:
        grounds: as `hostile.build` leaves them.
        database: URI of a store to be backed up there.
    """
    process = FORKS.Process(target=_work, args=(grounds, database, dict(os.environ)))
    process.start()
    process.join(PATIENCE * len(grounds))
    if process.exitcode is None:
        process.kill()
    return [_report(ground) for ground in grounds]


def _report(ground: Path) -> Found:
    path = ground / "report.json"
    found: Found = json.loads(path.read_text()) if path.exists() else {}
    return found


def _work(grounds: Sequence[Path], database: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    limit = _data() + SPARE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    touched: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.remove", "os.rename", "os.link", "os.truncate", "os.chmod"}:
            touched.extend(str(a) for a in arguments[:2] if "/outside/" in str(a) or str(a) == "/dev/zero")

    sys.addaudithook(hook)
    for ground in grounds:
        os.chdir(ground)
        report: Found = {}
        for name in COMMANDS:
            began = time.monotonic()
            report[name] = _came_to(_CALLS[name], ground, database)
            report[f"{name} seconds"] = round(time.monotonic() - began, 1)
        (ground / "report.json").write_text(json.dumps({**report, "touched": touched}))
        touched.clear()


def _came_to(call: Callable[[Path, str], Any], ground: Path, database: str) -> Any:
    from mlmeta.errors import MlmetaError

    try:
        return call(ground, database)
    except MlmetaError as error:
        return {"exit": int(error.exit_code), "message": str(error)[:1000], "hint": bool(error.hint)}
    except BaseException:  # noqa: BLE001 - told to the test
        return {"crash": traceback.format_exc()[-3000:]}


def _data() -> int:
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _result(result: Any, **more: object) -> Found:
    messages = [str(issue.message)[:1000] for issue in result.issues]
    return {"exit": int(result.exit_code), "message": " ".join(messages)[:3000], **more}


def _list(ground: Path, _: str) -> Found:
    from mlmeta.commands.list import list_snapshots

    found = list_snapshots(str(ground / "backups"))
    rows = {row.timestamp: row for row in found.snapshots}
    return _result(found, state=rows[BAD].state.value, problem=rows[BAD].problem[:1000], good=rows[GOOD].state.value)


def _show(ground: Path, _: str) -> Found:
    from mlmeta.commands.show import overview

    folder = str(ground / "backups")
    overview(GOOD, folder)
    return _result(overview(BAD, folder))


def _models(ground: Path, _: str) -> Found:
    from mlmeta.commands.show import models

    return _result(models(BAD, str(ground / "backups")))


def _verify(ground: Path, _: str) -> Found:
    from mlmeta.commands.verify import verify

    folder = str(ground / "backups")
    return _result(verify([BAD], folder), good=int(verify([GOOD], folder).exit_code))


def _quick(ground: Path, _: str) -> Found:
    from mlmeta.commands.verify import verify

    return _result(verify([BAD], str(ground / "backups"), quick=True))


def _restore(ground: Path, _: str) -> Found:
    from mlmeta.commands.restore import restore

    return _result(restore(f"sqlite:///{ground / 'restored.db'}", BAD, str(ground / "backups")))


def _browse(ground: Path, _: str) -> Found:
    from mlmeta.commands.browse import browse

    def look(timestamp: str, uri: str) -> None:
        del timestamp, uri

    return _result(browse(BAD, str(ground / "backups"), look))


def _copy(ground: Path, _: str) -> Found:
    from mlmeta.commands.copy import copy

    return _result(copy([BAD], str(ground / "backups"), str(ground / "copy")))


def _missing(ground: Path, _: str) -> Found:
    from mlmeta.commands.copy import copy
    from mlmeta.commands.verify import verify

    done = copy([], str(ground / "backups"), str(ground / "missing"), missing=True)
    return _result(done, good=int(verify([GOOD], str(ground / "missing")).exit_code))


def _diff(ground: Path, _: str) -> Found:
    from mlmeta.commands.diff import diff

    return _result(diff(GOOD, BAD, str(ground / "backups")))


def _page(ground: Path, _: str) -> Found:
    from mlmeta.commands.report import report

    return _result(report(BAD, str(ground / "backups"), io.BytesIO()))


def _prune(ground: Path, _: str) -> Found:
    from mlmeta.commands.prune import prune
    from mlmeta.snapshot.retention import Rules

    there = shutil.copytree(ground / "backups", ground / "pruned", symlinks=True, ignore=_pipes)
    return _result(prune(str(there), Rules(last=1)))


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]


def _backup(ground: Path, database: str) -> Found:
    from mlmeta.commands.backup import backup
    from mlmeta.commands.verify import verify

    folder = str(ground / "backups")
    done = backup(database, [folder], incremental=True)
    checked = verify([done.timestamp], folder)
    return _result(done, good=int(checked.exit_code), base=done.incremental_base, issues=_result(checked)["message"])


_CALLS: dict[str, Callable[[Path, str], Found]] = {
    "list": _list,
    "show": _show,
    "models": _models,
    "verify": _verify,
    "quick": _quick,
    "restore": _restore,
    "browse": _browse,
    "copy": _copy,
    "missing": _missing,
    "diff": _diff,
    "page": _page,
    "prune": _prune,
    "backup": _backup,
}
