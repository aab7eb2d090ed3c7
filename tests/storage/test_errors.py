"""Storages that can't be used: one clear error each, with the place and what to do."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from mlmeta import list_snapshots
from mlmeta.errors import (
    BucketMissingError,
    ExitCode,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
    UsageError,
)
from mlmeta.storage import LocalStorage, StagedFile, Storage, open_storage
from mlmeta.storage.gcs import GcsStorage
from tests.builders.snapshots import commit
from tests.storage.conftest import Ground
from tests.storage.faulty import failure
from tests.support.fault_proxy import Plan, Reply
from tests.support.gcs import Emulator, free_port
from tests.support.stored import assert_whole, digest, listed, names, publish, staged

Act = Callable[[Storage], object]
ACTS: dict[str, Act] = {
    "files": lambda storage: list(storage.files()),
    "open": lambda storage: storage.open("a.json"),
    "confirm": lambda storage: storage.confirm("a.json", digest(b"")),
    "publish": lambda storage: publish(storage, "a.json", b""),
    "remove": lambda storage: storage.remove("a.json"),
}


@pytest.mark.parametrize("act", ["files", "publish"])
def test_a_bucket_that_is_not_there(gcs: Emulator, act: str) -> None:
    with pytest.raises(BucketMissingError, match="no-such-bucket") as caught:
        ACTS[act](open_storage("gs://no-such-bucket/p"))
    assert caught.value.exit_code == ExitCode.FAILED
    assert caught.value.hint


def call(storage: Storage, act: str) -> None:
    ACTS[act](storage)


@pytest.mark.parametrize("body", [b"[]", b"7", b'{"items": [{"name": "x"}]}', b'{"items": [{}]}', b'{"items": 7}'])
def test_an_answer_that_is_none(emulator: Emulator, faults: Plan, body: bytes) -> None:
    """Such as of a proxy that wants a password, with status 200."""
    storage = open_storage(f"gs://{emulator.new_bucket()}")
    headers = {"Content-Type": "application/json"}
    faults.fault_for = lambda _: lambda exchange: exchange.answer(Reply(200, headers, body))
    for acts in (("files",), ("publish", "confirm")):
        with pytest.raises(StorageError):
            [*map(partial(call, storage), acts)]


@pytest.mark.parametrize("act", ["files", "publish"])
def test_a_bucket_that_vanishes(gcs: Emulator, act: str) -> None:
    bucket = gcs.new_bucket()
    storage = open_storage(f"gs://{bucket}")
    publish(storage, "b.json", b"")
    storage.remove("b.json")
    gcs.drop_bucket(bucket)
    with pytest.raises(BucketMissingError, match=bucket):
        ACTS[act](storage)


@pytest.mark.parametrize("size", [1, 9 << 20])
def test_a_bucket_that_is_not_there_and_a_file_of_any_size(gcs: Emulator, size: int) -> None:
    with pytest.raises(BucketMissingError):
        publish(open_storage("gs://no-such-bucket/p"), "a.json", b"x" * size)


@pytest.mark.parametrize("act", ACTS)
def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    begin = time.monotonic()
    with pytest.raises(StorageError, match=r"gs://some-bucket/p/.* can't be reached") as caught:
        ACTS[act](GcsStorage("gs://some-bucket/p", patience=0.2))
    assert time.monotonic() - begin < 10
    assert caught.value.hint


@pytest.mark.parametrize("act", ACTS)
def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: str) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no-such-file.json"))
    with pytest.raises(StorageDeniedError, match=r"no credentials for gs://some-bucket/p/") as caught:
        ACTS[act](open_storage("gs://some-bucket/p"))
    assert "gcloud auth" in caught.value.hint


@pytest.mark.parametrize("location", ["", "gs://", "gs:///a", "s3://bucket/a", "http://a/b"])
def test_what_is_no_storage(location: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage(location)
    assert "gs://bucket/prefix" in caught.value.hint + str(caught.value)


@pytest.mark.parametrize("bucket", ["-bad-", "."])
def test_a_name_that_no_bucket_can_have(gcs: Emulator, bucket: str) -> None:
    with pytest.raises(StorageError, match="gs://") as caught:
        list_snapshots(f"gs://{bucket}/p")
    assert caught.value.hint


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageMissingError, match="nowhere"):
        list_snapshots(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_no_folder_for_temporary_files(gcs_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with pytest.raises(StorageError, match="/no/such/folder") as caught:
        gcs_ground.open().stage()
    assert "TMPDIR" in caught.value.hint


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: what a full disk is to a program. Writing fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFull:
    def test_at_every_size(self, ground: Ground) -> None:
        """A snapshot's files have 14 to some 1500 bytes."""
        outcomes = []
        for size in (*range(0, 400, 8), *range(400, 1600, 100)):
            with no_file_beyond(size):
                error = failure(lambda: commit(ground.open()))
            outcomes.append(error is None)
            if error is None:
                continue
            assert isinstance(error, StorageFullError)
            place = tempfile.gettempdir() if ground.kind == "gcs" else ground.location
            assert place in str(error)
            assert error.hint
            assert ground.names() == set(), f"{size} bytes"
            break_even = size
        assert outcomes[0] is False
        assert break_even > 100
        commit(ground.open())
        assert_whole(ground.open())

    def test_while_reading_from_a_bucket(self, gcs_ground: Ground) -> None:
        """What is downloaded goes through a temporary file, once it is too big for memory."""
        publish(gcs_ground.open(), "a.json", b"x" * (9 << 20))
        with no_file_beyond(1 << 20), pytest.raises(StorageFullError) as caught:
            gcs_ground.open().open("a.json")
        assert tempfile.gettempdir() in str(caught.value)
        assert "TMPDIR" in caught.value.hint

    def test_while_writing(self, ground: Ground) -> None:
        file = ground.open().stage()
        with no_file_beyond(1 << 20), pytest.raises(StorageFullError):
            _fill(file)
        file.discard()
        assert ground.names() == set()

    def test_downloading(self, gcs_ground: Ground) -> None:
        publish(gcs_ground.open(), "a.json", bytes(9 << 20))
        with no_file_beyond(1 << 20), pytest.raises(StorageFullError, match=tempfile.gettempdir()):
            gcs_ground.open().open("a.json")


def _fill(file: StagedFile) -> None:
    for _ in range(64):
        file.write(bytes(1 << 16))


class TestFileSystemWithoutHardLinks:
    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStorage:
        """As on FUSE mounts and exFAT, which a test can't mount."""

        def refuse(*_: object) -> None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        monkeypatch.setattr(os, "link", refuse)
        return LocalStorage(tmp_path)

    def test_snapshots_are_whole(self, storage: LocalStorage) -> None:
        for _ in range(2):
            commit(storage)
        assert len(listed(storage)) == 2
        assert_whole(storage)
        assert len(list(storage.folder.iterdir())) == 10

    def test_full(self, storage: LocalStorage) -> None:
        content = bytes(3 << 20)
        file = staged(storage, content)
        with no_file_beyond(1 << 20), pytest.raises(StorageFullError):
            file.publish("a.json", digest(content))
        file.withdraw("a.json")
        file.discard()
        assert list(storage.folder.iterdir()) == []

    def test_only_ones_own_is_taken_back(self, storage: LocalStorage) -> None:
        publish(storage, "a.json", b"theirs")
        file = staged(storage, b"ours")
        with pytest.raises(StorageError, match="exists"):
            file.publish("a.json", digest(b"ours"))
        file.publish("b.json", digest(b"ours"))
        file.withdraw("a.json")
        file.withdraw("b.json")
        file.discard()
        assert names(storage) == ["a.json"]


def test_a_local_folder_needs_no_google(tmp_path: Path) -> None:
    commit(LocalStorage(tmp_path))
    code = "import sys, mlmeta; mlmeta.list_snapshots(sys.argv[1]); sys.exit('google.cloud' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
