"""A line of our own processes' logs: written by machines, read back whole, told to people in one row."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.log_lines import LogLine, fields_of, for_people, of_text
from testbed.api.process_logs import about, configure
from testbed.api.repeats import Repeats

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.sampled_from(["pod", "pod_uid", "node", "container_id", "fault", "object", "reason"])
LINES = st.builds(LogLine, st.integers(0, 2**62), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS,
                  st.dictionaries(NAMES, TEXTS.filter(bool)), TEXTS)
POD = {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "default", "uid": "u1", "ownerReferences": [
    {"kind": "Other", "name": "x"}, {"kind": "ReplicaSet", "name": "web", "controller": True}]},
    "spec": {"nodeName": "node-1"}}


@pytest.fixture(autouse=True)
def logging_of_before() -> Iterator[None]:
    root, hook, raises = logging.getLogger(), sys.excepthook, logging.raiseExceptions
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], logging.raiseExceptions, sys.excepthook = handlers, raises, hook
    root.setLevel(level)
    logging.captureWarnings(False)


@given(line=LINES)
def test_what_is_written_is_read_back_and_stays_on_one_line(line: LogLine) -> None:
    text = line.to_json()
    assert "\n" not in text and of_text(text, "another") == line


@given(text=TEXTS | st.sampled_from(['{"ns": 1e999}', "[]", "5", "null", '{"ns": "x"}', "[" * 100_000]))
def test_a_line_of_another_form_belongs_to_the_line_before_it(text: str) -> None:
    before = LogLine(7, "2026-01-01T00:00:00.000001Z", "api", "broke")
    assert of_text(text, "chaos", before) == LogLine(7, before.at, "chaos", text)
    assert of_text(text, "chaos") == LogLine(0, "", "chaos", text)


@pytest.mark.parametrize(("obj", "fields"), [
    (POD, {"pod": "default/web-1", "pod_uid": "u1", "node": "node-1", "owner": "ReplicaSet/default/web"}),
    ({"kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}, {"pod": "b/a"}),
    ({"kind": "Node", "metadata": {"name": "node-1", "uid": "u"}}, {"node": "node-1"}),
    ({"kind": "Service", "metadata": {"name": "web", "namespace": "default"}}, {"object": "Service/default/web"}),
    ({"kind": "Namespace", "metadata": {"name": "default"}}, {"object": "Namespace/default"}),
])
def test_an_object_is_named_by_what_it_is(obj: dict[str, Any], fields: dict[str, str]) -> None:
    assert fields_of(obj) == fields


def test_a_person_reads_one_row_without_what_it_says_already() -> None:
    line = LogLine(1, "2026-01-01T12:00:00.123456Z", "agent/node-1", "Killing: default/web-1 is stopped", "WARNING",
                   "kubelet", {"pod": "default/web-1", "pod_uid": "u1", "node": "node-1", "container_id": "a" * 64,
                               "reason": "Killing", "owner": "ReplicaSet/default/web"})
    assert for_people(line) == ("2026-01-01T12:00:00.123Z agent/node-1 | WARNING Killing: default/web-1 is stopped "
                                "(container_id=aaaaaaaaaaaa)")
    assert for_people(LogLine(0, "", "api", "Traceback")) == " " * 24 + " api | Traceback"


@given(text=st.text(st.sampled_from("\x1b[]0;ma\x07\x9b\r\n\t\x85\u202e"), max_size=20))
def test_what_others_wrote_steers_no_terminal_wherever_it_stands(text: str) -> None:
    line = LogLine(1, text, text, text, text, text, {"node": text or "x", f"a{text}": "x"}, text)
    assert line.to_json().isprintable()
    read = of_text(line.to_json(), "api")
    assert read == line
    assert for_people(read).replace("\n", "").isprintable()


def test_control_characters_are_seen_and_more_rows_of_a_message_stand_below() -> None:
    line = of_text(LogLine(1, "", "api", "x\x1b]0;pwn\x07\nforged", trace="Error: \x1b[2J").to_json(), "api")
    assert for_people(line).splitlines() == [" " * 24 + " api | x?]0;pwn?", "    forged", "    Error: ?[2J"]


def test_a_record_carries_its_process_whom_it_is_about_and_its_trace() -> None:
    stream = io.StringIO()
    configure("agent/node-1", stream=stream, node="node-1")
    log = logging.getLogger("testbed.node")
    log.info("pod %s", "web-1", extra=about(POD, container_id="c1"))
    log.info("moved", extra=about(None, 5, node="node-2"))
    try:
        raise ValueError("no such\nthing")
    except ValueError:
        log.exception("broke")
    log.debug("not a word")
    first, second, third = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(first)[:6] == ["at", "ns", "level", "process", "logger", "message"]
    assert (first["process"], first["logger"], first["level"]) == ("agent/node-1", "testbed.node", "INFO")
    assert (first["message"], first["pod_uid"], first["container_id"]) == ("pod web-1", "u1", "c1")
    assert (second["node"], second["ns"]) == ("node-2", 5) and second["at"] < first["at"]
    assert third["node"] == "node-1" and third["trace"].endswith("ValueError: no such\nthing")


def test_what_a_loop_says_again_and_again_about_nobody_is_written_now_and_then() -> None:
    stream = io.StringIO()
    configure("api", stream=stream)
    log = logging.getLogger("testbed.network")
    for _ in range(100):
        log.info("gateway: %s", "no answer")
        log.info("about somebody", extra=about(POD))
    log.info("gateway: %s", "refused")
    said = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert said.count("gateway: no answer") == said.count("gateway: refused") == 1
    assert said.count("about somebody") == 100


def test_the_same_exception_over_and_over_is_written_now_and_then_and_another_at_once() -> None:
    stream = io.StringIO()
    configure("api", stream=stream)
    broken: list[Exception] = [ValueError("a"), ValueError("b"), *([KeyError("c")] * 50)]
    for error in broken:
        for part, extra in (("pods", {}), ("nodes", {}), ("one", about(POD))):
            try:
                raise error
            except (ValueError, KeyError):
                logging.getLogger("testbed.scrape").exception("no metrics of %s", part, extra=extra)
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    kinds = [(line["message"].split()[-1], line["trace"].splitlines()[-1]) for line in said]
    assert [kind for kind in kinds if kind[0] != "one"] == [
        ("pods", "ValueError: a"), ("nodes", "ValueError: a"), ("pods", "KeyError: 'c'"), ("nodes", "KeyError: 'c'")]
    assert len([kind for kind in kinds if kind[0] == "one"]) == len(broken), "it says whom it is about"


def test_how_many_exceptions_were_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [100.0]
    configure("api", stream=stream)
    monkeypatch.setattr("testbed.api.process_logs.time.monotonic", lambda: now[0])
    for moment in (100.0, 101.0, 102.0, 106.0):
        now[0] = moment
        logging.getLogger("testbed.scrape").error("broke", exc_info=ValueError("a"))
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "broke", "broke (2 more of these before)"]


@pytest.mark.parametrize(("program", "message"), [
    ("raise RuntimeError('a bug')", "ended by a bug of ours: RuntimeError: a bug"),
    ("import warnings; warnings.warn('old')", "old"),
])
def test_the_last_words_of_a_process_are_a_line_too(program: str, message: str) -> None:
    code = f"from testbed.api.process_logs import configure; configure('api'); {program}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    line = json.loads(said.stderr)
    assert message in line["message"] and line["process"] == "api"


@given(seconds=st.lists(st.floats(0, 20), max_size=40), interval_s=st.floats(0.5, 5))
def test_every_equal_line_is_written_or_counted(seconds: list[float], interval_s: float) -> None:
    repeats, written, told = Repeats(interval_s), [], 0
    for moment in sorted(seconds):
        left_out = repeats.due("a", moment)
        if left_out is not None:
            written.append(moment)
            told += left_out
    assert all(later - earlier >= interval_s for earlier, later in zip(written, written[1:], strict=False))
    waiting = repeats.due("a", 1e9)
    assert len(written) + told + (waiting or 0) == len(seconds)


def test_the_first_of_each_kind_is_written_and_old_ones_are_forgotten() -> None:
    repeats = Repeats(interval_s=5, max_keys=2)
    assert [repeats.due(key, 0.0) for key in "abc"] == [0, 0, 0]
    assert repeats.due("c", 1.0) is None
    assert repeats.due("a", 1.0) == 0
