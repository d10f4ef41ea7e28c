"""Where our own processes' logs are written: on stderr, which the machine room redirects to a file, as ``log_lines``.

    log.info("%s is killed", name, extra=about(pod_uid=uid, node=node))

A line tells what happened, not that something is well. What a loop says again and again about nobody in particular (the
gateway does not answer) is written now and then, with how many were left out; the files are kept small by
``machines.logs``. Nothing secret is ever a part of a line.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from testbed.api.log_lines import LogLine, fields_of, time_text
from testbed.api.repeats import Repeats, and_more

_FIELDS, _NS, _LEFT_OUT = "testbed_fields", "testbed_ns", "testbed_left_out"  # on a LogRecord


def configure(process: str, *, stream: TextIO | None = None, **fields: str) -> None:
    """All logging of this process, and what ends it, as JSON lines on ``stream`` (default stderr).

    Args:
        process: how it is called in each line: ``api``, ``agent/node-1``, ``chaos``, ``room``.
        fields: in each of its lines, where the line itself does not say otherwise: ``node=...``.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process, fields))
    handler.addFilter(NowAndThen())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk is no reason to say more
    sys.excepthook = _last_words


def about(obj: Mapping[str, Any] | None = None, ns: int | None = None, /, **fields: str) -> dict[str, Any]:
    """For ``extra``: whom a line is about.

    Args:
        obj: an API object (JSON with its kind).
        ns: CLOCK_MONOTONIC of what is told; default: of the telling.
        fields: ``pod`` (``namespace/name``), ``pod_uid``, ``node``, ``container_id``, ``fault``
            (``kind/namespace/name``) and others; they win over those of ``obj``.
    """
    found = {**(fields_of(obj) if obj is not None else {}), **fields}
    return {_FIELDS: {name: text for name, text in found.items() if text}, **({} if ns is None else {_NS: ns})}


class NowAndThen(logging.Filter):
    """Lets equal records through once per interval; all of those that say whom they are about. Of exceptions those of
    one message and type are equal, whatever their traces: each is some kilobytes."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, _FIELDS):
            return True
        broke = record.exc_info[0] if record.exc_info else None
        left_out = self._repeats.due((record.name, record.levelno, record.getMessage(), broke), time.monotonic())
        setattr(record, _LEFT_OUT, left_out or 0)
        return left_out is not None


class JsonLines(logging.Formatter):
    """A record as a line of ``log_lines``."""

    def __init__(self, process: str, fields: Mapping[str, str]) -> None:
        super().__init__()
        self._process, self._own = process, dict(fields)

    def format(self, record: logging.LogRecord) -> str:
        now_ns = time.monotonic_ns()
        ns = int(getattr(record, _NS, now_ns))
        return LogLine(
            ns, time_text(record.created + (ns - now_ns) / 1e9), self._process,
            record.getMessage() + and_more(getattr(record, _LEFT_OUT, 0)), record.levelname, record.name,
            {**self._own, **getattr(record, _FIELDS, {})},
            self.formatException(record.exc_info) if record.exc_info else "",
        ).to_json()


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("testbed").critical("ended by a bug of ours: %s: %s", kind.__name__, error,
                                          exc_info=(kind, error, trace))
