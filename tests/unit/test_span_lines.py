"""Spans as lines: MLflow's JSON goes in as it is, comes out as it was, and is not taken apart on the way."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from mlmeta.schema import Span, SpanLine
from mlmeta.stores.api.spans import parsed

CONTENT = {
    "trace_id": "yXQd/w==",
    "span_id": "AAAAAAAAAAE=",
    "parent_span_id": None,
    "name": 'say "\\u00fc"\\',
    "start_time_unix_nano": 1_700_000_000_123_456_789,
    "end_time_unix_nano": None,
    "status": {"code": "STATUS_CODE_OK", "message": "ü 😀 \u2028 \x01 \n \\ \\\\u00e9"},
    "attributes": {"mlflow.spanInputs": json.dumps({"question": 'wer "ist" das? ü\n'})},
}
TEXT = json.dumps(CONTENT, ensure_ascii=False).encode()


def test_content_is_part_of_the_line_as_it_is() -> None:
    line = SpanLine.of_content("tr-1", "01", TEXT)
    assert line.line == b'{"trace_id":"tr-1","span_id":"01","content":' + TEXT + b"}"
    assert line.content == TEXT
    assert line.started == 1_700_000_000_123_456_789
    assert SpanLine.of(line.line) == line


def test_letters_that_an_older_mlflow_escaped_are_letters() -> None:
    assert SpanLine.of_content("tr-1", "01", json.dumps(CONTENT).encode()) == SpanLine.of_content("tr-1", "01", TEXT)


def test_taken_apart_and_put_together_it_is_the_same() -> None:
    line = SpanLine.of_content("tr-1", "01", TEXT)
    assert line.record() == Span(trace_id="tr-1", span_id="01", content=CONTENT)
    assert line.record().to_line() == line.line


@pytest.mark.parametrize(
    "odd",
    [
        *(b"", b"no JSON", b'"text"', b"1", b"null", b"[1]", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\\ud800"}'),
        *(b'{"a": "\x01"}', b'{"a": 1, "a": 2}', b'{"a":1e3}', b'{"a": "NaN"}', b'{"start_time_unix_nano": "1"}'),
        *(b'{"start_time_unix_nano": 1.5}', b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "{ü".encode()),
    ],
)
def test_whatever_a_database_has_comes_out_as_it_was(odd: bytes) -> None:
    line = SpanLine.of_content('tr "1"', "ü", odd)
    assert line.content == odd
    assert line.started == 0
    assert SpanLine.of(line.line) == line
    json.loads(line.line, parse_constant=pytest.fail)
    assert b"\n" not in line.line


def test_line_ends_between_values_become_blanks() -> None:
    assert SpanLine.of_content("tr-1", "01", b'{\r\n"a":\n1}').content == b'{  "a": 1}'


def test_an_archived_span_has_its_columns() -> None:
    span = Span(trace_id="tr-1", span_id="01", content=None, name="ü", status="OK", start=5, end=7)
    line = span.as_line()
    assert json.loads(line.line)["end"] == 7
    assert (line.started, line.content) == (5, None)
    assert SpanLine.of(line.line) == line
    assert line.record() == span


def test_a_line_of_another_make_is_written_as_ours() -> None:
    other = b'{"content": {"start_time_unix_nano":7}, "span_id":"01","trace_id":"tr-1"}'
    line = SpanLine.of(other)
    assert line == SpanLine.of_content("tr-1", "01", b'{"start_time_unix_nano": 7}')


@pytest.mark.parametrize(
    "bad", [b"{}", b'{"trace_id":"a","span_id":"b"}', b'{"trace_id":"a","span_id":"b","content":1}']
)
def test_what_is_no_span_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        SpanLine.of(bad)


COLUMNS = b'"name":null,"status":"OK","start":5'


@pytest.mark.parametrize(
    "line",
    [
        SpanLine.of_content("tr-1", "01", TEXT).line,
        b'{"trace_id":"tr-1","span_id":"01","content":{"start_time_unix_nano":4},%b}' % COLUMNS,
        b'{"trace_id":"tr-1","span_id":"01","content":null,%b}' % COLUMNS,
        b'{"span_id":"01","content":{},"trace_id":"tr-1"}',
        b'{"trace_id":"a","span_id":"01","content":{},"trace_id":"tr-1"}',
    ],
)
def test_a_line_that_is_just_checked_says_what_the_span_does(line: bytes) -> None:
    checked, span = SpanLine.checked(line), Span.model_validate_json(line)
    assert (checked.trace_id, checked.span_id, checked.started) == (span.trace_id, span.span_id, span.started)


@pytest.mark.parametrize(
    "bad", [b"", b"[]", b'{"trace_id":"a"}', b'{"trace_id":"a","span_id":"b","content":{},"start":"x"}']
)
def test_a_line_that_is_no_span_is_told_as_it_always_was(bad: bytes) -> None:
    told = []
    for parse in (SpanLine.checked, Span.model_validate_json):
        with pytest.raises(ValidationError) as caught:
            parse(bad)
        told.append([(error["loc"], error["msg"]) for error in caught.value.errors()])
    assert told[0] == told[1]


_OPENED = b'{"trace_id": "", "span_id": "%b", "start_time_unix_nano": %d'
REPLIED = {
    "as MLflow writes them": [_OPENED % (b"a", 1) + b"}", _OPENED % (b"b", 2) + b"}"],
    "what looks like an end in a text": [json.dumps({"span_id": "a", "x": '},{"trace_id": "'}).encode()],
    "the same, behind an opening": [_OPENED % (b"a", 1) + b', "x": "},{\\"trace_id\\": \\""}'],
    "links without blanks": [_OPENED % (b"a", 1) + b', "links": [{"trace_id": "b"},{"trace_id": "c"}]}'],
    "no number": [_OPENED % (b"a", 1) + b', "x": NaN}', _OPENED % (b"b", 2) + b"}"],
    "half a letter": [_OPENED % (b"a", 1) + b', "x": "\\ud800"}', _OPENED % (b"b", 2) + b"}"],
}


@pytest.mark.parametrize("name", REPLIED)
def test_a_reply_is_cut_where_a_span_ends(name: str) -> None:
    contents = REPLIED[name]
    found = parsed("t", b'{"spans":[%b]}' % b",".join(contents))
    ids = [json.loads(content)["span_id"] for content in contents]
    assert found == [SpanLine.of_content("t", one, content) for one, content in zip(ids, contents, strict=True)]
