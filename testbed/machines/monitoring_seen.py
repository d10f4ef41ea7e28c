"""What Prometheus says of itself, as values: targets, alerts, and why it did not start. Pure.

Reads the answers of its HTTP API (prometheus.io, HTTP API: `/api/v1/targets`, `/api/v1/alerts`) and the log of one that
ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.errors import Mistake

TARGETS, ALERTS = "/api/v1/targets?state=active", "/api/v1/alerts"
_LINES = 8  # of a log, that are worth telling
# How a mistake in a file begins: line and column, or what the YAML reader says.
_PLACE = re.compile(r"(\d+):\d+: |yaml: (?:unmarshal errors:\s+)?line (\d+): ")


@dataclass(frozen=True)
class ScrapeTarget:
    """``part``: api, agent, gateway or haproxy; ``health``: up, down, or unknown before its first scrape."""

    part: str
    node: str
    url: str
    health: str
    error: str = ""

    @property
    def up(self) -> bool:
        return self.health == "up"


@dataclass(frozen=True)
class Alert:
    """``state``: pending or firing, since ``since``."""

    name: str
    state: str
    since: datetime | None
    labels: Mapping[str, str]
    summary: str = ""


def targets(answer: Mapping[str, Any]) -> tuple[ScrapeTarget, ...]:
    """Of an answer to ``TARGETS``, by part and node."""
    found = []
    for each in answer["data"]["activeTargets"]:
        own = each.get("labels") or {}
        found.append(ScrapeTarget(own.get("part", ""), own.get("node", ""), each.get("scrapeUrl", ""),
                                  each.get("health", "unknown"), each.get("lastError", "")))
    return tuple(sorted(found, key=lambda target: (target.part, target.node, target.url)))


def alerts(answer: Mapping[str, Any]) -> tuple[Alert, ...]:
    """Of an answer to ``ALERTS``: the firing ones first, each sort by name."""
    found = []
    for each in answer["data"]["alerts"]:
        own = dict(each.get("labels") or {})
        since = each.get("activeAt")
        found.append(Alert(own.pop("alertname", ""), each.get("state", ""),
                           datetime.fromisoformat(since) if since else None, own,
                           (each.get("annotations") or {}).get("summary", "")))
    return tuple(sorted(found, key=lambda alert: (alert.state != "firing", alert.name, sorted(alert.labels.items()))))


def mistakes(log: str, names: Mapping[str, str]) -> tuple[Mistake, ...]:
    """What Prometheus found wrong in a file that it was given, from the log that it ended with.

    Args: names: a path as Prometheus sees it, to the path that the person gave.
    """
    found = []
    for quoted in re.findall(r'\berr="((?:\\.|[^"\\])*)"', log):
        path, _, said = quoted.replace('\\n', "\n").replace('\\"', '"').partition(": ")
        if path in names:
            place = _PLACE.match(said)
            number = next((int(group) for group in place.groups() if group), 0) if place else 0
            found.append(Mistake(said[place.end():] if place else said, file=names[path], line=number))
    return tuple(dict.fromkeys(found))


def telling(log: Sequence[str]) -> str:
    """The lines of a log that say why a program ended: those of errors, else the last ones."""
    errors = [line for line in log if re.search(r"level=error|\berr=|\bError\b", line, re.IGNORECASE)]
    return "\n".join((errors or list(log))[-_LINES:])
