"""What every storage promises, held by a local folder and by a bucket alike."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlmeta.errors import ObjectExistsError, ObjectMissingError, StorageError
from mlmeta.storage import Digest, Storage, open_storage
from tests.storage.conftest import Ground
from tests.support.gcs import Emulator
from tests.support.stored import digest, names, publish, read, staged

WRITERS = 16


class TestOneFile:
    def test_what_is_published_is_read_back(self, storage: Storage) -> None:
        before = time.time()
        publish(storage, "a.json", b"hello")
        assert read(storage, "a.json") == b"hello"
        (found,) = storage.files()
        assert (found.name, found.size) == ("a.json", 5)
        assert before - 2 <= found.modified <= time.time() + 2

    def test_it_is_there_for_others_too(self, ground: Ground) -> None:
        publish(ground.open(), "a.json", b"hello")
        assert read(ground.open(), "a.json") == b"hello"

    def test_it_is_written_piece_by_piece(self, storage: Storage) -> None:
        pieces = [bytes([i % 256]) * i for i in range(600)]
        file = storage.stage()
        for piece in pieces:
            file.write(piece)
        file.publish("a.json", digest(b"".join(pieces)))
        file.discard()
        assert read(storage, "a.json") == b"".join(pieces)

    def test_empty(self, storage: Storage) -> None:
        written = publish(storage, "a.json", b"")
        assert read(storage, "a.json") == b""
        storage.confirm("a.json", written)

    def test_twenty_megabytes(self, storage: Storage) -> None:
        content = random.Random(1).randbytes(20 << 20)
        written = publish(storage, "a.json", content)
        storage.confirm("a.json", written)
        assert hashlib.sha256(read(storage, "a.json")).hexdigest() == written.sha256

    def test_reading_line_by_line(self, storage: Storage) -> None:
        publish(storage, "a.json", b"[\n1,\n2\n]\n")
        with storage.open("a.json") as file:
            assert list(file) == [b"[\n", b"1,\n", b"2\n", b"]\n"]

    def test_many_threads_read_at_once(self, storage: Storage) -> None:
        contents = {f"{i}.json": str(i).encode() * 1000 for i in range(24)}
        for name, content in contents.items():
            publish(storage, name, content)
        with ThreadPoolExecutor(12) as pool:
            found = dict(zip(contents, pool.map(lambda name: read(storage, name), contents), strict=True))
        assert found == contents

    def test_what_is_said_about_it_is_given_back_or_forgotten(self, ground: Ground) -> None:
        publish(ground.open(), "a.json", b"1", {"summary": '{"ä": "日本"}'})
        (found,) = ground.open().files()
        assert found.about == ({"summary": '{"ä": "日本"}'} if ground.kind == "gcs" else {})

    @pytest.mark.parametrize("name", ["a b.json", "ä日本.json", "100%25.json", "a+b&c=d?e#f.json"])
    def test_odd_names(self, storage: Storage, name: str) -> None:
        written = publish(storage, name, b"x")
        assert names(storage) == [name]
        assert read(storage, name) == b"x"
        storage.confirm(name, written)
        storage.remove(name)
        assert names(storage) == []


class TestStaged:
    def test_nobody_sees_it(self, ground: Ground) -> None:
        file = staged(ground.open(), b"hello")
        assert names(ground.open()) == []
        file.discard()

    def test_discarded_it_leaves_nothing(self, ground: Ground) -> None:
        staged(ground.open(), b"hello").discard()
        assert ground.names() == set()

    def test_published_it_leaves_nothing_else(self, ground: Ground) -> None:
        publish(ground.open(), "a.json", b"hello")
        assert ground.names() == {"a.json"}

    def test_discarding_twice_is_no_harm(self, storage: Storage) -> None:
        file = staged(storage, b"hello")
        file.publish("a.json", digest(b"hello"))
        file.discard()
        file.discard()
        assert read(storage, "a.json") == b"hello"

    @pytest.mark.parametrize("written", [b"", b"hell", b"hello, world"], ids=["nothing", "less", "more"])
    def test_it_is_not_published_when_it_is_not_what_was_said(self, storage: Storage, written: bytes) -> None:
        file = staged(storage, written)
        with pytest.raises(StorageError):
            file.publish("a.json", digest(b"hello"))
        assert names(storage) == []
        file.withdraw("a.json")
        file.discard()
        assert names(storage) == []


class TestCreateOnly:
    @pytest.mark.parametrize("content", [b"mine", b"other"], ids=["same bytes", "other bytes"])
    def test_a_taken_name_stays_as_it_is(self, storage: Storage, content: bytes) -> None:
        publish(storage, "a.json", b"mine")
        with pytest.raises(ObjectExistsError) as caught:
            publish(storage, "a.json", content)
        assert caught.value.name == "a.json"
        assert read(storage, "a.json") == b"mine"

    def test_what_found_its_name_taken_is_published_under_another(self, storage: Storage) -> None:
        publish(storage, "a.json", b"first")
        file = staged(storage, b"second")
        with pytest.raises(ObjectExistsError):
            file.publish("a.json", digest(b"second"))
        file.publish("b.json", digest(b"second"))
        file.discard()
        assert (read(storage, "a.json"), read(storage, "b.json")) == (b"first", b"second")

    def test_it_may_have_two_names(self, storage: Storage) -> None:
        file = staged(storage, b"x")
        file.publish("a.json", digest(b"x"))
        file.publish("b.json", digest(b"x"))
        file.discard()
        assert names(storage) == ["a.json", "b.json"]

    @pytest.mark.parametrize("same", [True, False], ids=["same bytes", "different bytes"])
    def test_of_many_at_once_one_wins(self, ground: Ground, same: bool) -> None:
        contents = [b"same" if same else f"writer {i}".encode() for i in range(WRITERS)]
        start = threading.Barrier(WRITERS)

        def compete(content: bytes) -> bool:
            file = staged(ground.open(), content)
            start.wait(30)
            try:
                file.publish("a.json", digest(content))
            except ObjectExistsError:
                return False
            finally:
                file.discard()
            return True

        with ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(compete, contents))
        assert won.count(True) == 1
        assert read(ground.open(), "a.json") == contents[won.index(True)]
        assert ground.names() == {"a.json"}


class TestWithdrawing:
    def test_a_published_file_goes(self, ground: Ground) -> None:
        file = staged(ground.open(), b"x")
        file.publish("a.json", digest(b"x"))
        file.withdraw("a.json")
        file.discard()
        assert ground.names() == set()

    def test_twice_and_unpublished(self, storage: Storage) -> None:
        file = staged(storage, b"x")
        file.withdraw("a.json")
        file.publish("a.json", digest(b"x"))
        file.withdraw("a.json")
        file.withdraw("a.json")
        file.discard()
        assert names(storage) == []

    def test_it_may_be_published_again(self, storage: Storage) -> None:
        file = staged(storage, b"x")
        file.publish("a.json", digest(b"x"))
        file.withdraw("a.json")
        file.publish("a.json", digest(b"x"))
        file.discard()
        assert read(storage, "a.json") == b"x"

    @pytest.mark.parametrize("content", [b"x", b"y"], ids=["same bytes", "other bytes"])
    def test_another_ones_file_stays(self, storage: Storage, content: bytes) -> None:
        publish(storage, "a.json", content)
        file = staged(storage, b"x")
        with pytest.raises(ObjectExistsError):
            file.publish("a.json", digest(b"x"))
        file.withdraw("a.json")
        file.discard()
        assert read(storage, "a.json") == content


class TestListing:
    def test_nothing(self, storage: Storage) -> None:
        assert names(storage) == []

    def test_what_others_put_there_shows_too(self, ground: Ground) -> None:
        ground.put({"foreign.txt": b"12", "runs_x.json": b""})
        assert {file.name: file.size for file in ground.open().files()} == {"foreign.txt": 2, "runs_x.json": 0}

    def test_folders_one_level_deep(self, ground: Ground) -> None:
        ground.put({"20250101_000000/runs.json": b"1", "a/b/c.json": b"2", "d.json": b"3"})
        assert names(ground.open()) == ["20250101_000000/runs.json", "d.json"]

    def test_files_in_folders_are_read_and_removed(self, ground: Ground) -> None:
        ground.put({"20250101_000000/runs.json": b"1", "20250101_000000/models.json": b"2"})
        storage = ground.open()
        assert read(storage, "20250101_000000/runs.json") == b"1"
        storage.remove("20250101_000000/runs.json")
        assert ground.names() == {"20250101_000000/models.json"}

    def test_what_is_gone_with_its_folder_can_be_removed_again(self, ground: Ground) -> None:
        ground.put({"20250101_000000/runs.json": b"1"})
        for _ in range(2):
            ground.open().remove("20250101_000000/runs.json")
            assert ground.names() == set()

    def test_thousands(self, ground: Ground) -> None:
        ground.put({f"{i:05}.json": b"" for i in range(2500)})
        assert names(ground.open()) == [f"{i:05}.json" for i in range(2500)]

    def test_neighbours_dont_show(self, gcs: Emulator) -> None:
        bucket = gcs.new_bucket()
        gcs.put(bucket, {"abc/x": b"", "ab/y": b"", "ab": b"", "abz": b"", "z": b""})
        assert names(open_storage(f"gs://{bucket}/ab")) == ["y"]


class TestLookingUpAgain:
    def test_right(self, ground: Ground) -> None:
        storage = ground.open()
        written = publish(storage, "a.json", b"hello")
        storage.confirm("a.json", written)
        ground.open().confirm("a.json", written)

    @pytest.mark.parametrize("wrong", [digest(b"hellO"), Digest(4, digest(b"hello").sha256)], ids=["sha256", "size"])
    @pytest.mark.parametrize("fresh", [True, False])
    def test_wrong(self, ground: Ground, wrong: Digest, fresh: bool) -> None:
        storage = ground.open()
        publish(storage, "a.json", b"hello")
        with pytest.raises(StorageError) as caught:
            (ground.open() if fresh else storage).confirm("a.json", wrong)
        assert not isinstance(caught.value, ObjectMissingError)
        assert "a.json" in str(caught.value)

    @pytest.mark.parametrize("fresh", [True, False])
    def test_replaced_by_somebody(self, ground: Ground, fresh: bool) -> None:
        storage = ground.open()
        written = publish(storage, "a.json", b"hello")
        ground.put({"a.json": b"jello"})
        with pytest.raises(StorageError, match=r"a\.json"):
            (ground.open() if fresh else storage).confirm("a.json", written)

    def test_what_somebody_else_wrote(self, ground: Ground) -> None:
        ground.put({"a.json": b"hello"})
        ground.open().confirm("a.json", digest(b"hello"))


@pytest.mark.parametrize(
    "act",
    [lambda s: s.open("a.json"), lambda s: s.confirm("a.json", digest(b""))],
    ids=["open", "confirm"],
)
def test_a_missing_file(storage: Storage, act: Callable[[Storage], object]) -> None:
    publish(storage, "b.json", b"")
    with pytest.raises(ObjectMissingError) as caught:
        act(storage)
    assert caught.value.name == "a.json"
    assert storage.location in str(caught.value)


def test_removing_and_removing_again(ground: Ground) -> None:
    storage = ground.open()
    publish(storage, "a.json", b"1")
    publish(storage, "b.json", b"2")
    storage.remove("a.json")
    storage.remove("a.json")
    assert ground.names() == {"b.json"}


def test_a_removed_name_is_free_again(storage: Storage) -> None:
    publish(storage, "a.json", b"1")
    storage.remove("a.json")
    publish(storage, "a.json", b"2")
    assert read(storage, "a.json") == b"2"


@pytest.mark.parametrize(
    "prefix", ["", "/", "a", "a/", "/a/b/c/", "ä 日本", "a%2Fb", "a+b&c=d", "#x?y", "..", "20250101_000000"]
)
def test_odd_prefixes_in_a_bucket(gcs: Emulator, prefix: str) -> None:
    bucket = gcs.new_bucket()
    storage = open_storage(f"gs://{bucket}/{prefix}")
    plain = f"{prefix.strip('/')}/".lstrip("/")
    assert storage.location == f"gs://{bucket}/{plain}"
    publish(storage, "a.json", b"x")
    assert gcs.names(bucket) == {f"{plain}a.json"}
    assert names(storage) == ["a.json"]
    assert read(storage, "a.json") == b"x"
