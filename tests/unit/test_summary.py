"""The summary guards itself."""

from __future__ import annotations

from mlmeta.schema import FileEntry, Skipped, Summary, summary_is_intact

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
