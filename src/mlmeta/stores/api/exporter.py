"""A source that speaks MLflow's API."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from mlmeta.errors import ConnectionFailedError, UsageError
from mlmeta.progress import Progress
from mlmeta.schema import HISTORIES, Experiment, RegisteredModel, Run, Selection, Skipped, experiment_order
from mlmeta.stores.api import diagnosis
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import LIST_EXPERIMENTS, Connection, client_version, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.histories import HistoryReader, has_bulk
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import Search, found_by
from mlmeta.stores.api.permissions import hidden_from
from mlmeta.stores.api.proof import is_proven
from mlmeta.stores.api.read_logged_models import read_logged_models
from mlmeta.stores.api.read_registered_models import read_models
from mlmeta.stores.api.read_runs import PAGE, RunReader
from mlmeta.stores.api.unsupported import read_unsaved
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem, belongs

DEFAULT_JOBS = 8


class ApiSource:
    """Any store that `MlflowClient` can open.

    Args:
        connection: to the store; it is checked here.
        jobs: requests under way at once.
        executor: runs the batches; not closed here. Whatever runs them elsewhere, pickles them. None: own threads.

    Raises:
        ConnectionFailedError: see `Connection.check`.
    """

    def __init__(self, connection: Connection, jobs: int = DEFAULT_JOBS, executor: Executor | None = None) -> None:
        connection.check()
        self._connection = connection
        self._jobs = jobs
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="mlmeta-read")
        self._executor: Executor = executor or self._threads
        self._pace = Pace(jobs)
        self._bulk: bool | None = None
        self._distrusted = False
        self._hidden = ""
        self.info = SourceInfo(
            uri=connection.name,
            kind=connection.kind,
            client_version=client_version(),
            server_version=connection.server_version(),
            workspace=connection.workspace,
        )

    def experiment_names(self) -> set[str]:
        """See `Source.experiment_names`."""
        from mlflow.exceptions import MlflowException

        try:
            return {item.name for item in self._experiments(()) if isinstance(item, Experiment)}
        except MlflowException as error:
            raise self._failure(error) from error

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """See `Source.read`."""
        from mlflow.exceptions import MlflowException

        try:
            for item in self._items(selection, progress, base):
                _report(item, progress)
                yield item
        except MlflowException as error:
            raise self._failure(error) from error

    def _items(self, selection: Selection, progress: Progress, base: Base | None) -> Iterator[SourceItem]:
        run_ids: set[str] | None = None
        if selection.runs or selection.experiments:
            seen = yield from self._tracked(selection, progress, base)
            run_ids = set().union(*seen.values()) if selection.experiments else None
        if selection.models:
            progress.phase("reading registered models")
            yield from self._models(run_ids)

    def _tracked(
        self, selection: Selection, progress: Progress, base: Base | None
    ) -> Generator[SourceItem, None, dict[str, set[str]]]:
        """Experiments and runs; returns the run ids by experiment, where they are needed later."""
        progress.phase("reading experiments")
        skipped: list[Skipped] = []
        experiments = _once(self._experiments(selection.experiments), skipped)
        yield from experiments if selection.runs else ()
        yield from skipped
        progress.phase("reading runs and their metrics")
        seen: dict[str, set[str]] = {e.experiment_id: set() for e in experiments}
        for item in self._runs(experiments, base):
            if isinstance(item, Run) and self._remembers(selection):
                seen[item.experiment_id].add(item.run_id)
            if selection.runs:
                yield item
        if selection.runs:
            yield from read_logged_models(self._connection, list(seen))
            self._hidden = hidden_from(self._connection)
            limited = bool(selection.experiments)
            yield from read_unsaved(self._connection, list(seen), self._threads, limited=limited)
        return seen

    def _remembers(self, selection: Selection) -> bool:
        """Whether run ids are needed later. Of a whole server they are not: memory must not grow with it."""
        return bool(selection.experiments)

    def _experiments(self, names: tuple[str, ...]) -> Iterator[Experiment | Skipped]:
        if names:
            yield from map(self._named, dict.fromkeys(names))
            return
        if self._connection.kind == "files":
            yield from FileStore(self._connection).experiments()
            return
        search = Search(
            self._connection, self._ask_experiments, lambda entity: entity.experiment_id, _lost_experiments, PAGE
        )
        for entity in itertools.chain.from_iterable(page.items for page in found_by(search)):
            try:
                yield convert.experiment(entity)
            except unreadable() as error:
                yield Skipped(kind="experiment", id=str(entity.experiment_id), reason=self._connection.reason(error))
        yield from search.skipped

    def _ask_experiments(self, token: str | None, size: int) -> Any:
        from mlflow.entities import ViewType

        if self._connection.only_lists:
            return _listed_experiments(self._connection, token, size)
        return self._connection.client.search_experiments(ViewType.ALL, size, page_token=token)

    def _named(self, name: str) -> Experiment:
        found = self._named_file(name) if self._connection.kind == "files" else self._ask_named(name)
        if found is not None:
            return found
        raise UsageError(
            f"there is no experiment {name!r} at {self.info.uri}",
            hint="check the spelling: upper and lower case differ",
        )

    def _ask_named(self, name: str) -> Experiment | None:
        try:
            entity = self._connection.client.get_experiment_by_name(name)
            return convert.experiment(entity) if entity is not None else None
        except unreadable() as error:
            raise self._failure(error) from error

    def _named_file(self, name: str) -> Experiment | None:
        found = FileStore(self._connection).experiments()
        return next((item for item in found if isinstance(item, Experiment) and item.name == name), None)

    def _failure(self, error: Exception) -> ConnectionFailedError:
        self._connection.check()
        reason = self._connection.reason(error)
        return ConnectionFailedError(
            f"{self.info.uri} failed while it was read: {reason}", hint=diagnosis.advice(error)
        )

    def _runs(self, experiments: list[Experiment], base: Base | None) -> Iterator[SourceItem]:
        undecided = self._bulk is None and self._connection.kind == "server"
        histories = HistoryReader(
            self._connection,
            self._executor,
            self._pace,
            bulk=bool(self._bulk),
            base=base,
            prove=self._prove if undecided or self._bulk else None,
        )
        ids = (experiment.experiment_id for experiment in experiments)
        yield from RunReader(self._connection, histories, self._threads).read(ids)

    def _prove(self, runs: list[Run]) -> bool:
        """Whether there is a bulk endpoint that can be trusted, as some runs with metrics show it."""
        if self._bulk is None:
            self._bulk = self._threads.submit(has_bulk, self._connection, runs[0]).result()
        if not self._bulk:
            return False
        self._distrusted = not is_proven(self._connection, self._pace, runs, self._threads)
        return not self._distrusted

    def _models(self, run_ids: set[str] | None) -> Iterator[SourceItem]:
        for item in read_models(self._connection, self._executor, self._jobs):
            if run_ids is None or not isinstance(item, RegisteredModel) or belongs(item, run_ids):
                yield item

    def warnings(self) -> tuple[str, ...]:
        """See `Source.warnings`."""
        found = [self._hidden] if self._hidden else []
        if self._bulk is False and self._connection.kind == "server":
            found.append("the server has no bulk endpoint for metric histories: each was read separately, slowly")
        if self._distrusted:
            found.append("the server's bulk endpoint returned other points than get_metric_history, so it was not used")
        if not self._connection.is_bounded:
            found.append("this MLflow sends requests in a way that mlmeta does not know: their size was not limited")
        return tuple(found)

    def close(self) -> None:
        """See `Source.close`."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _once(items: Iterable[Experiment | Skipped], skipped: list[Skipped]) -> list[Experiment]:
    """Experiments by id, each once; what is not one goes into `skipped`."""
    found: dict[str, Experiment] = {}
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
        elif found.setdefault(item.experiment_id, item) != item:
            skipped.append(
                Skipped(kind="experiment", id=item.experiment_id, reason="the server returned two with that id")
            )
    return sorted(found.values(), key=lambda experiment: experiment_order(experiment.experiment_id))


def _listed_experiments(connection: Connection, token: str | None, size: int) -> Any:
    """A page of experiments of a server before MLflow 1.28, for which today's client has no call."""
    from mlflow.entities import Experiment as Entity
    from mlflow.protos.service_pb2 import SearchExperiments
    from mlflow.store.entities import PagedList
    from mlflow.utils.proto_json_utils import parse_dict
    from mlflow.utils.rest_utils import verify_rest_response

    params = {"view_type": "ALL", "max_results": size, **({"page_token": token} if token else {})}
    reply = verify_rest_response(connection.request("GET", LIST_EXPERIMENTS, params=params), LIST_EXPERIMENTS)
    found = SearchExperiments.Response()
    parse_dict(reply.json(), found)
    return PagedList([Entity.from_proto(one) for one in found.experiments], found.next_page_token or None)


def _lost_experiments(number: int | None, reason: str) -> Skipped:
    place = f"number {number}" if number else "the rest" if number is None else "all"
    return Skipped(kind="experiment", id=place, reason=reason)


def _report(item: SourceItem, progress: Progress) -> None:
    if isinstance(item, Experiment):
        progress.advance("experiments")
    elif isinstance(item, Run):
        progress.advance("runs")
    elif isinstance(item, HISTORIES):
        progress.advance("metric points", item.size)
    elif isinstance(item, RegisteredModel):
        progress.advance("models")
