"""Who is told what came of a command: a file for Prometheus, a service that pings go to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlmeta.errors import ExitCode, MlmetaError

if TYPE_CHECKING:
    from mlmeta.cli.output import Output
    from mlmeta.metrics import Sample
    from mlmeta.ping import Ping


@dataclass
class Watched:
    """One run of a command, and who is told of it. What fails here is a warning, and leaves the exit code alone.

    Args:
        metrics_file: of the textfile collector; empty: none.
        ping: where pings go; empty: nowhere.
        storages: that the command works on.
        source: gives the name of the source that it works on; empty: whatever the storage has.
    """

    metrics_file: str
    ping: str = field(repr=False)
    storages: Sequence[str] = ()
    source: Callable[[], str] = str
    _began: float = 0.0
    _ping: Ping | None = None

    def begin(self) -> None:
        """Say that the command begins."""
        self._began = time.monotonic()
        if self.ping:
            from mlmeta.ping import Ping

            self._ping = Ping(self.ping)
            self._ping.start()

    def end(self, output: Output, code: int) -> None:
        """Say what came of it.

        Args:
            output: that has shown it.
            code: the exit code.
        """
        if self.metrics_file:
            self._write(output, code)
        if self._ping is not None and (failure := self._ping.finish(code, output.document())):
            output.warn(f"the ping (--ping) did not arrive: {failure}", "check its address, and the network")

    def _write(self, output: Output, code: int) -> None:
        from mlmeta.cli.run import refused
        from mlmeta.metrics import update_file
        from mlmeta.redaction import without_secrets

        storage = ",".join(map(without_secrets, self.storages))
        job = {"command": output.command, "source": self.source(), "storage": storage}
        try:
            update_file(Path(self.metrics_file).expanduser(), job, self._samples(output, code))
        except MlmetaError as error:
            output.warn(f"the metrics (--metrics-file) were not written: {error}", error.hint)
        except (OSError, RuntimeError) as error:  # the latter: no home folder
            named = refused(error)
            output.warn(f"the metrics (--metrics-file) were not written: {named or error}", named.hint if named else "")

    def _samples(self, output: Output, code: int) -> list[Sample]:
        from mlmeta.metrics import DURATION, EXIT_CODE, LAST_RUN, LAST_SUCCESS, Sample

        now = time.time()
        succeeded = [Sample(LAST_SUCCESS, now)] if code == ExitCode.DONE else []
        measures = output.outcome.measures(now) if output.outcome is not None else ()
        seconds = round(time.monotonic() - self._began, 3)
        return [Sample(LAST_RUN, now), *succeeded, Sample(EXIT_CODE, code), Sample(DURATION, seconds), *measures]


def name_of_store(uri: str) -> str:
    """The name of a source, by its tracking URI or label: the one that its snapshots show."""
    from mlmeta.redaction import without_secrets
    from mlmeta.stores.opening import shown_uri

    try:
        return shown_uri(uri) if uri else ""
    except MlmetaError:
        return without_secrets(uri)
