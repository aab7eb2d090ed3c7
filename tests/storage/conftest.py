"""Storages of both kinds, and what a test does behind mlmeta's back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlmeta.storage import Storage, open_storage
from mlmeta.storage.gcs import GcsStorage
from tests.storage.faulty import Direct, New
from tests.support.databases import Databases
from tests.support.fault_proxy import Plan, fault_proxy
from tests.support.gcs import Emulator, running_emulator


@dataclass(frozen=True)
class Ground:
    """A place for a storage, seen from outside.

    Args:
        kind: ``local`` or ``gcs``.
        location: for `open_storage`.
        put: write files that mlmeta did not make.
        names: of all files there are, hidden ones too.
    """

    kind: str
    location: str
    put: Callable[[dict[str, bytes]], None]
    names: Callable[[], set[str]]

    def open(self) -> Storage:
        """A storage of its own, as another process would have."""
        return open_storage(self.location)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """One emulator a session."""
    with running_emulator() as running:
        yield running


@pytest.fixture
def gcs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, as the one that the client talks to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.uri)
    return emulator


@pytest.fixture
def faults(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """A proxy in front of the emulator that the client talks to."""
    # Newer clients ask for the bucket's properties in a thread of their own: the requests would not be countable.
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    with fault_proxy(emulator.address) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.uri)
        yield running


@pytest.fixture
def local_ground(tmp_path: Path) -> Ground:
    """A folder."""
    folder = tmp_path / "storage"
    folder.mkdir()

    def put(contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def names() -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    return Ground("local", str(folder), put, names)


@pytest.fixture
def gcs_ground(gcs: Emulator) -> Ground:
    """A prefix in a new bucket."""
    bucket, prefix = gcs.new_bucket(), "some/prefix/"

    def put(contents: dict[str, bytes]) -> None:
        gcs.put(bucket, {prefix + name: content for name, content in contents.items()})

    def names() -> set[str]:
        return {name.removeprefix(prefix) for name in gcs.names(bucket)}

    return Ground("gcs", f"gs://{bucket}/{prefix}", put, names)


@pytest.fixture(params=["local", "gcs"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A storage of each kind."""
    found: Ground = request.getfixturevalue(f"{request.param}_ground")
    return found


@pytest.fixture
def storage(ground: Ground) -> Storage:
    """A storage of each kind, empty."""
    return ground.open()


@pytest.fixture
def direct(emulator: Emulator, faults: Plan) -> Direct:
    """Opens a storage that no fault can reach."""

    def opened(location: str) -> GcsStorage:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", emulator.uri)
            storage = GcsStorage(location)
            assert storage.bucket.name  # makes the client
        return storage

    return opened


@pytest.fixture
def new(emulator: Emulator) -> New:
    """The location of a new, empty storage."""
    return lambda: f"gs://{emulator.new_bucket()}/p/"


@pytest.fixture
def databases_uri(databases: Databases) -> Callable[[], str]:
    """The URI of a database with something of everything."""
    return lambda: databases.uri("filled")
