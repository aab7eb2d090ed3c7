"""Snapshots that somebody prepared: their checksums are right, and what they say is not to be believed.

Each is a change of a sound snapshot. In the folder it lies beside, and is newer than, one that is left as it is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import legacy

GOOD = "20250101_000000"
BAD = "20250202_000000"
OTHER = "20250303_000000"
SECRET = b"nobody is to read this\n"


@dataclass
class Snapshot:
    """A snapshot to be changed; `seal` writes its summary, with all checksums right.

    Args:
        folder: the storage.
        outside: a folder that no command may touch, with a file `secret`.
        fields: of the summary.
    """

    folder: Path
    outside: Path
    fields: dict[str, Any]
    sealed: Callable[[str], str] = str

    @property
    def secret(self) -> Path:
        return self.outside / "secret"

    def path(self, kind: str) -> Path:
        return self.folder / str(self.fields["files"][kind]["name"])

    def entry(self, kind: str, **changes: object) -> None:
        """Change what the summary says of a file."""
        self.fields["files"][kind].update(changes)

    def also(self, kind: str, name: str, content: bytes = SECRET) -> None:
        """Have the summary name one more file, of which all that it says is true."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.fields["files"][kind] = {"name": name, "bytes": len(content), "records": 1, "sha256": sha256}

    def replace(self, kind: str, content: bytes, records: int | None = None, name: str = "") -> None:
        """Put other content into a file."""
        self.path(kind).unlink()
        name = name or self.fields["files"][kind]["name"]
        (self.folder / name).write_bytes(content)
        records = self.fields["files"][kind]["records"] if records is None else records
        self.also(kind, name, content)
        self.entry(kind, records=records)

    def edit(self, kind: str, old: bytes, new: bytes) -> None:
        """Change a part of a file."""
        content = self.path(kind).read_bytes()
        assert old in content
        self.replace(kind, content.replace(old, new, 1))

    def lines(self, kind: str, *records: bytes) -> None:
        """Put other records into a file."""
        self.replace(kind, b"[\n" + b",\n".join(records) + b"\n]\n" if records else b"[\n]\n", len(records))

    def packed(self, kind: str, content: Callable[[Path], None], records: int = 1) -> None:
        """Put a gzip file in the place of one."""
        name = f"{kind}_{BAD}.json.gz"
        content(self.folder / name)
        self.path(kind).unlink()
        packed = (self.folder / name).read_bytes()
        self.also(kind, name, packed)
        self.entry(kind, records=records)

    def seal(self, timestamp: str = BAD) -> None:
        blank = self.sealed(json.dumps({**self.fields, "checksum": "0" * 64}, indent=1))
        checksum = hashlib.sha256(blank.encode()).hexdigest()
        path = self.folder / f"backup_summary_{timestamp}.json"
        path.write_text(blank.replace('"checksum": "' + "0" * 64, f'"checksum": "{checksum}'))


Change = Callable[[Snapshot], None]


def build(sound: Path, ground: Path, change: Change) -> Snapshot:
    """A storage below `ground` with a good snapshot and one that is changed.

    Args:
        sound: a folder with one snapshot.
        ground: a new folder.
        change: what is done to the snapshot before its summary is written.
    """
    folder, outside = ground / "backups", ground / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    _copy(sound, folder, outside, GOOD).seal(GOOD)
    found = _copy(sound, folder, outside, BAD)
    change(found)
    if found.fields:
        found.seal()
    return found


def _copy(sound: Path, folder: Path, outside: Path, timestamp: str) -> Snapshot:
    (summary,) = sound.glob("backup_summary_*.json")
    fields = json.loads(summary.read_bytes().replace(summary.stem[-15:].encode(), timestamp.encode()))
    for entry in fields["files"].values():
        kind = entry["name"][: -len(f"_{timestamp}.json")]
        shutil.copyfile(sound / f"{kind}_{summary.stem[-15:]}.json", folder / entry["name"])
    return Snapshot(folder, outside, fields)


def tree(folder: Path) -> dict[str, bytes | str]:
    """All that is in a folder; what is no file by its kind."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else "odd"
        for path in sorted(folder.rglob("*"))
    }


def _both(*changes: Change) -> Change:
    def change(s: Snapshot) -> None:
        for one in changes:
            one(s)

    return change


def _named(name: str) -> Change:
    return lambda s: s.also("datasets", name)


def _field(**fields: object) -> Change:
    return lambda s: s.fields.update(fields)


def _text(text: bytes) -> Change:
    """A summary that is something else."""

    def change(s: Snapshot) -> None:
        s.fields = {}
        (s.folder / f"backup_summary_{BAD}.json").write_bytes(text)

    return change


def _without_files(s: Snapshot) -> None:
    s.fields["files"] = {}


def _other_snapshots_file(s: Snapshot) -> None:
    s.also("runs", f"runs_{GOOD}.json", (s.folder / f"runs_{GOOD}.json").read_bytes())


def _planted(s: Snapshot) -> None:
    """A second snapshot, which a copy would bring along as data of the first."""
    content = b'{"planted": true}'
    (s.folder / f"backup_summary_{OTHER}.json").write_bytes(content)
    s.also("backup_summary", f"backup_summary_{OTHER}.json", content)


def _key_twice(s: Snapshot) -> None:
    s.sealed = lambda text: text.replace('"files": {', '"files": {}, "files": {', 1)


SUMMARIES: dict[str, Change] = {
    "an absolute name": lambda s: s.also("datasets", str(s.secret)),
    "a name above": _named("../outside/secret"),
    "a name above, by way of a folder": _named(f"{BAD}/../../outside/secret"),
    "a name with a NUL": _named(f"datasets_{BAD}.json\0"),
    "half a surrogate": _named("\ud800"),
    "an empty name": _named(""),
    "the folder itself": _named("."),
    "a file of another snapshot": _other_snapshots_file,
    "a file of another kind": lambda s: s.also("datasets", f"runs_{BAD}.json"),
    "one file for two kinds": lambda s: s.fields["files"].update(models=dict(s.fields["files"]["runs"])),
    "a second snapshot": _planted,
    "its own summary": lambda s: s.also("backup_summary", f"backup_summary_{BAD}.json"),
    "a kind that is a path": lambda s: s.also("../x", f"../x_{BAD}.json"),
    "a kind twice": _key_twice,
    "no checksum": lambda s: s.entry("runs", sha256=""),
    "an invalid checksum": lambda s: s.entry("runs", sha256="z" * 64),
    "a size below nothing": lambda s: s.entry("runs", bytes=-1),
    "a number of records below nothing": lambda s: s.entry("runs", records=-1),
    "more records than bytes": lambda s: s.entry("runs", records=1 << 40),
    "a size of 5,000 digits": _both(
        lambda s: s.entry("runs", bytes=0),
        lambda s: setattr(s, "sealed", lambda t: t.replace(": 0,", ": " + "1" * 5000 + ",", 1)),
    ),
    "a size of 4,000 digits": lambda s: s.entry("runs", bytes=10**4000),
    "counts of 4,000 digits": lambda s: s.fields["stats"].update(runs=10**4000),
    "counts below nothing": lambda s: s.fields["stats"].update(runs=-1),
    "counts and no files": _without_files,
    "neither counts nor files": _both(_without_files, _field(stats={})),
    "another snapshot's timestamp": _field(backup_timestamp=OTHER),
    "a timestamp that is a path": _field(backup_timestamp="../../outside/secret"),
    "the older script's mark": _field(schema_version="legacy"),
    "a version of 5,000 digits": _field(schema_version="1" * 5000 + ".0"),
    "brackets to no end": _text(b"[" * 1_000_000),
    "objects to no end": _text(b'{"a":' * 1_000_000),
    "values to no end": _text(b'{"schema_version":"1.1","x":[' + b"0," * 7_000_000 + b"0]}"),
    "objects in a row to no end": _text(b'{"schema_version":"1.1","x":[' + b"{}," * 5_000_000 + b"{}]}"),
    "more bytes than a summary has": _text(b" " * (17 << 20)),
}
"""What is wrong with the summary itself: shown by `list`, and named by all that read it."""


def _link(target: Callable[[Snapshot], Path]) -> Change:
    def change(s: Snapshot) -> None:
        s.path("runs").unlink()
        s.path("runs").symlink_to(target(s))

    return change


def _link_to_a_copy(s: Snapshot) -> Path:
    shutil.copyfile(s.folder / f"runs_{GOOD}.json", s.outside / "runs")
    return s.outside / "runs"


def _pipe(s: Snapshot) -> None:
    s.path("runs").unlink()
    os.mkfifo(s.path("runs"))


def _folder(s: Snapshot) -> None:
    s.path("runs").unlink()
    s.path("runs").mkdir()


def link_beside_a_file(s: Snapshot) -> None:
    (s.folder / f"runs_{BAD}.json.gz").symlink_to(s.secret)


ODD: dict[str, Change] = {
    "a link to a file outside": _link(lambda s: s.secret),
    "a link to a sound file outside": _link(_link_to_a_copy),
    "a link to itself": _link(lambda s: s.path("runs")),
    "a link to a device": _link(lambda _: Path("/dev/zero")),
    "a link to nowhere": _link(lambda s: s.folder / "nowhere"),
    "a pipe": _pipe,
    "a folder": _folder,
    "a file that is missing": lambda s: s.path("runs").unlink(),
    "a file that is too big": lambda s: s.path("runs").write_bytes(b" " * 5_000_000),
}
"""What is wrong with a file, to be seen without opening it: shown by `list`, and named by all that read it."""

_EXPERIMENT = b'{"experiment_id":"0","name":"Default"}'


def _run(more: bytes) -> bytes:
    return b'{"run_id":"' + b"a" * 32 + b'","experiment_id":"0","status":"FINISHED",' + more + b"}"


def _history(columns: bytes, run_id: bytes = b"a" * 32) -> bytes:
    return b'{"run_id":"' + run_id + b'","key":"loss",' + columns + b"}"


def _of_runs(*runs: bytes) -> Change:
    def change(s: Snapshot) -> None:
        s.lines("experiments", _EXPERIMENT)
        s.lines("runs", *runs)
        s.lines("metrics")
        s.lines("models")
        s.fields["files"].pop("logged_models", None)
        s.fields["stats"].pop("logged_models", None)

    return change


def _of_a_history(line: bytes) -> Change:
    return _both(_of_runs(_run(b'"start_time":1')), lambda s: s.lines("metrics", line))


def _surplus(s: Snapshot) -> None:
    s.entry("runs", records=s.fields["files"]["runs"]["records"] - 1)


def _in_a_real_history(old: bytes, new: bytes) -> Change:
    """A line that an incremental backup takes over, as its run and its number of points are right."""
    return lambda s: s.edit("metrics", old, new)


CONTENT: dict[str, Change] = {
    "a column that is too long": _in_a_real_history(b'"timestamp":[', b'"timestamp":[1,'),
    "a number of 4,000 digits in a history": _in_a_real_history(b'"timestamp":[', b'"timestamp":[' + b"1" * 4000),
    "a history that is no JSON": _in_a_real_history(b'"timestamp":[', b'"timestamp":[[[['),
    "a record that is too deep": _of_runs(_run(b'"params":' + b"[" * 100_000)),
    "a number of 5,000 digits": _of_runs(_run(b'"start_time":' + b"1" * 5000)),
    "a number of 4,000 digits": _of_runs(_run(b'"start_time":' + b"1" * 4000)),
    "half a surrogate": _of_runs(_run(b'"run_name":"\\ud800"')),
    "half a surrogate as bytes": _of_runs(_run(b'"run_name":"\xed\xa0\x80"')),
    "not UTF-8": _of_runs(_run(b'"run_name":"\xff"')),
    "a record that is none": _of_runs(b"[1,2]"),
    "an id that is a number": _of_runs(b'{"run_id":1,"experiment_id":"0","status":"FINISHED"}'),
    "an id that is empty": _of_runs(b'{"run_id":"","experiment_id":"0","status":"FINISHED"}'),
    "an id that is a path": _of_runs(b'{"run_id":"../../x","experiment_id":"0","status":"FINISHED"}'),
    "an id with a NUL": _of_runs(b'{"run_id":"a\\u0000","experiment_id":"0","status":"FINISHED"}'),
    "an experiment's id that is none": _both(
        _of_runs(), lambda s: s.lines("experiments", b'{"experiment_id":"../x","name":"Default"}')
    ),
    "the same run twice": _of_runs(_run(b'"start_time":1'), _run(b'"start_time":1')),
    "a step of 4,000 digits": _of_a_history(_history(b'"step":[' + b"1" * 4000 + b'],"timestamp":[1],"value":[1]')),
    "columns of different length": _of_a_history(_history(b'"step":[1,2],"timestamp":[1],"value":[1]')),
    "a history of a run that is missing": _of_a_history(_history(b'"step":[1],"timestamp":[1],"value":[1]', b"b" * 32)),
    "more records than it says": _surplus,
    "an empty line": lambda s: s.replace("runs", s.path("runs").read_bytes().replace(b",\n", b",\n\n", 1)),
}
"""What is wrong with the content of a file, to be found by reading it."""


def _members(count: int, block: bytes) -> Callable[[Path], None]:
    """A gzip file of so many members: each is unpacked to the same block, of which the file grows by little."""

    def write(path: Path) -> None:
        member = gzip.compress(block, 9, mtime=0)
        with path.open("wb") as file:
            file.write(gzip.compress(b"[\n", mtime=0))
            for _ in range(count):
                file.write(member)

    return write


def _pieces(opening: bytes, piece: Callable[[int], bytes], count: int, closing: bytes) -> Iterator[bytes]:
    yield b"[\n" + opening
    for start in range(0, count, 10_000):
        yield b"".join(map(piece, range(start, min(start + 10_000, count))))
    yield closing + b"\n]\n"


def _long(kind: str, opening: bytes, piece: Callable[[int], bytes], count: int, closing: bytes, packed: bool) -> Change:
    """One record that is made of very many pieces."""

    def change(s: Snapshot) -> None:
        _of_runs(_run(b'"start_time":1'))(s)

        def write(path: Path) -> None:
            with gzip.open(path, "wb", 1) as file:
                for part in _pieces(opening, piece, count, closing):
                    file.write(part)

        if packed:
            s.packed(kind, write)
        else:
            s.replace(kind, b"".join(_pieces(opening, piece, count, closing)), 1)

    return change


def _keys(count: int, packed: bool) -> Change:
    run = _run(b'"params":{"":""')[:-1]
    return _long("runs", run, lambda n: b',"%x":""' % n, count, b"}}", packed)


def _bomb(kind: str, block: bytes) -> Change:
    return _both(_of_runs(_run(b'"start_time":1')), lambda s: s.packed(kind, _members(1000, block)))


def _legacy(content: bytes) -> Change:
    def change(s: Snapshot) -> None:
        for kind in list(s.fields["files"]):
            s.path(kind).unlink()
        s.fields = {}
        below = legacy.write(s.folder, nested=True)
        for path in below.glob("*.json") if below is not None else ():
            path.rename(path.with_name(path.name.replace(legacy.TIMESTAMP, BAD)))
        (s.folder / legacy.TIMESTAMP).rename(s.folder / BAD)
        (s.folder / BAD / f"runs_{BAD}.json").write_bytes(content)
        summary = s.folder / BAD / f"backup_summary_{BAD}.json"
        summary.write_bytes(summary.read_bytes().replace(legacy.TIMESTAMP.encode(), BAD.encode()))

    return change


BOMBS: dict[str, Change] = {
    "a line of 100 MB": _long("runs", _run(b'"run_name":"')[:-1], lambda _: b"x" * 1000, 100_000, b'"}', False),
    "a line of 100 MB, packed": _long("runs", _run(b'"run_name":"')[:-1], lambda _: b"x" * 1000, 100_000, b'"}', True),
    "a key of 20 MB": _long("metrics", b'{"run_id":"a","key":"', lambda _: b"\\n", 10_000_000, b'","step":[1],', False),
    "ten million keys": _keys(10_000_000, False),
    "ten million keys, packed": _keys(10_000_000, True),
    "as many keys as go into a line": _keys(2_000_000, True),
    "as wide a letter as there is": _long(
        "runs", _run('"run_name":"\\n\U0001f600'.encode())[:-1], lambda _: b"x" * 1000, 23_000, b'"', True
    ),
    "10 GB of blanks, packed": _bomb("runs", b" " * 10_000_000),
    "10 GB of empty lines, packed": _bomb("runs", b"\n" * 10_000_000),
    "10 GB of histories, packed": _bomb("metrics", b"[" * 10_000_000),
    "an older script's, too deep": _legacy(b"[" * 1_000_000),
    "an older script's, of too many keys": _legacy(
        b'[{"a":{' + b",".join(b'"%x":1' % n for n in range(1_000_000)) + b"}}]"
    ),
    "an older script's, of 100 MB": _legacy(b'["' + b"x" * 100_000_000 + b'"]'),
}
"""What would take all memory, or all time."""
