"""Reads back what was restored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from mlmeta.schema import Experiment, History, HistoryLine, Line, RegisteredModel, Run
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.existing import DEFAULT_ID, DEFAULT_NAME, ExistingRows, experiment_number
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.restore_registered_models import is_other
from mlmeta.stores.sql.restore_runs import run_batches
from mlmeta.stores.sql.stored import StoredForm, in_own_words, same_history
from mlmeta.stores.sql.tables import LOGGED_MODEL_TABLE, MODEL_TABLE
from mlmeta.stores.sql.walk import suffix_of
from mlmeta.stores.target import RENAME, RestoreOptions


def restored(part: Selected, existing: ExistingRows, options: RestoreOptions) -> Iterator[Line]:
    """What the target holds of a part of a snapshot, in the snapshot's order.

    What is just as a restore leaves it is given as the snapshot has it; what differs, as the target has it; a record
    that is missing, not at all.
    """
    form = StoredForm(Rewriter(options.rewrite))
    suffix = suffix_of(part.snapshot.timestamp) if options.on_conflict == RENAME else ""
    for record in part.experiments():
        if found := _experiment(record, existing, form, suffix):
            yield found
    yield from _runs(part, existing, form)
    for some in batches(part.logged_models()):
        there = existing.records(LOGGED_MODEL_TABLE, [model.model_id for model in some])
        for model in some:
            if model.model_id in there:
                own = there[model.model_id]
                yield in_own_words(model, form.of(model), own)
    for batch in batches(part.models()):
        yield from _models(batch, existing, form, suffix)


def _experiment(record: Experiment, existing: ExistingRows, form: StoredForm, suffix: str) -> Experiment | None:
    number = experiment_number(record.experiment_id)
    found = existing.experiment(number) if number is not None else None
    if found is None:
        return None
    stored = form.of(record)
    if found.name == stored.name + suffix:
        stored = stored.model_copy(update={"name": found.name})
    if int(record.experiment_id) == DEFAULT_ID and found.name == stored.name == DEFAULT_NAME:
        return record  # one that is in use keeps its own attributes; the plan says so
    return in_own_words(record, stored, found)


def _runs(part: Selected, existing: ExistingRows, form: StoredForm) -> Iterator[Run | History]:
    expected: deque[RunLines] = deque()
    lines: dict[str, list[HistoryLine]] = {}
    for record in existing.runs_with_histories(_asked(run_batches(part.runs_with_lines()), expected)):
        if isinstance(record, Run):
            while (item := expected.popleft()).run.run_id != record.run_id:  # those that are missing
                pass
            lines = _by_key(item.lines)
            yield in_own_words(item.run, form.of(item.run), record)
        else:
            own = lines.get(record.key)
            yield _history(record, own.pop()) if own else record


def _asked(batches: Iterable[list[RunLines]], expected: deque[RunLines]) -> Iterator[list[str]]:
    """The ids of runs; the runs themselves wait in `expected`."""
    for batch in batches:
        expected.extend(batch)
        yield [item.run.run_id for item in batch]


def _by_key(lines: Sequence[HistoryLine]) -> dict[str, list[HistoryLine]]:
    """The lines of each history, the first of them last: they are taken off one by one."""
    found: dict[str, list[HistoryLine]] = {}
    for line in reversed(lines):
        found.setdefault(line.key, []).append(line)
    return found


def _history(found: History, own: HistoryLine) -> History:
    return own if same_history(found, own) else found


def _models(
    models: Sequence[RegisteredModel], existing: ExistingRows, form: StoredForm, suffix: str
) -> Iterator[RegisteredModel]:
    names = [model.name for model in models]
    found = existing.records(MODEL_TABLE, names + [name + suffix for name in names if suffix])
    for model in models:
        stored = form.of(model)
        renamed = stored.model_copy(update={"name": stored.name + suffix})
        candidates = [(one, found[one.name]) for one in (stored, renamed) if one.name in found]
        if candidates:
            yield in_own_words(model, *next((pair for pair in candidates if not is_other(*pair)), candidates[0]))
