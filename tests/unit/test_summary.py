"""The summary guards itself."""

from __future__ import annotations

from mlmeta.schema import KINDS, FileEntry, Lineage, Skipped, Summary, summary_is_intact
from mlmeta.snapshot.summaries import untrue

SUMMARY = Summary(
    backup_timestamp="20250815_232928",
    backup_date="2025-08-15T23:29:28+00:00",
    mlflow_uri="http://mlflow:5000",
    stats={"experiments": 1, "runs": 2},
    files={"runs": FileEntry(name="runs_20250815_232928.json", bytes=3, records=2, sha256="a" * 64)},
    note='größe "quoted"',
    skipped=(Skipped(kind="run", id="r", reason="500"),),
)


def test_what_was_written_is_intact_and_reads_back() -> None:
    text = SUMMARY.to_bytes()
    assert summary_is_intact(text)
    read = Summary.model_validate_json(text)
    assert read.model_copy(update={"checksum": SUMMARY.checksum}) == SUMMARY
    assert read.to_bytes() == text


def test_a_flip_of_any_byte_is_noticed() -> None:
    text = SUMMARY.to_bytes()
    for position in range(len(text)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(text)
            changed[position] ^= bit
            assert not summary_is_intact(bytes(changed)), (position, bit)


def test_a_cut_at_any_place_is_noticed() -> None:
    text = SUMMARY.to_bytes()
    assert not any(summary_is_intact(text[:length]) for length in range(len(text)))
    assert not summary_is_intact(text + b"\n")


def test_a_second_checksum_is_noticed() -> None:
    text = SUMMARY.to_bytes()
    assert not summary_is_intact(text.replace(b'"note"', b'"checksum": "' + b"0" * 64 + b'", "note"'))


def test_only_a_guard_says_its_epoch() -> None:
    """The bytes of other snapshots stay as they were before there were epochs."""
    assert b"epoch" not in SUMMARY.to_bytes()
    assert b"includes" not in SUMMARY.to_bytes()
    read = Summary.model_validate_json(SUMMARY.model_copy(update={"epoch": 7, "includes": {3: "x"}}).to_bytes())
    assert read.lineage == Lineage(7, {3: "x"})


def test_a_lineage_has_what_came_before() -> None:
    lineage = Lineage(9).having(0, "5").having(4, "5").having(4, "3").having(7, "1")
    assert lineage.includes == {4: "5", 7: "1"}
    assert [lineage.has(4, name) for name in ("3", "5", "6")] == [True, True, False]
    assert not lineage.has(3, "1")
    for epoch in range(100, 164):
        lineage = lineage.joined(Lineage(0, {epoch: "1"}))
    assert min(lineage.includes) == 100, "it does not grow without an end"
    assert lineage.has(3, "1"), "and what it does not tell apart is settled"


def test_epochs_that_can_not_be() -> None:
    files = {
        kind: FileEntry(name=f"{kind}_20250815_232928.json", bytes=3, records=0, sha256="a" * 64) for kind in KINDS
    }
    sound = SUMMARY.model_copy(update={"files": files, "epoch": 7, "includes": {3: "20250815_232927"}})
    assert not [*untrue(sound, "20250815_232928")]
    for odd in ({"epoch": -1}, {"epoch": 10**9}, {"includes": {0: "20250815_232927"}}, {"includes": {3: "../x"}}):
        assert len([*untrue(sound.model_copy(update=odd), "20250815_232928")]) == 1
