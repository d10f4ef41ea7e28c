"""Events in the order of what they tell, whom they are about, and the rows in which they are shown. Pure.

Events of ours carry CLOCK_MONOTONIC of their newest occurrence; by it they are in one order with everything else that
happened. Those of others have times of whole seconds and are put where these belong. Columns: kubectl events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from testbed.api.labels import MONOTONIC_NS
from testbed.api.log_lines import FAULT, NODE, OBJECT, OWNER, POD_UID, REASON, LogLine, fields_of
from testbed.server.human import human_duration

Json = dict[str, Any]
HEADER = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
_FAULT_GROUPS = ("chaos-mesh.org/", "testbed.io/")
_MADE = "SuccessfulCreate"


def last_seen(event: Mapping[str, Any]) -> datetime | None:
    """With microseconds while it has happened once only."""
    series = (event.get("series") or {}).get("lastObservedTime")
    once = event.get("eventTime") if (event.get("count") or 1) == 1 else None
    text = series or once or event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or (
        event["metadata"].get("creationTimestamp"))
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_order(events: Iterable[Json]) -> list[tuple[int, Json]]:
    """Each with nanoseconds of one clock, the oldest first."""
    seen = [(event, _wall_ns(event), _monotonic_ns(event)) for event in events]
    # Wall times are cut to seconds, so the largest difference of the two clocks is the nearest.
    offset_ns = max((wall - monotonic for _, wall, monotonic in seen if monotonic), default=0)
    placed = [(monotonic or max(0, wall - offset_ns), event) for event, wall, monotonic in seen]
    return sorted(placed, key=lambda pair: pair[0])


def _wall_ns(event: Mapping[str, Any]) -> int:
    moment = last_seen(event)
    return int(moment.timestamp() * 1e6) * 1000 if moment else 0


def _monotonic_ns(event: Mapping[str, Any]) -> int:
    text = (event["metadata"].get("annotations") or {}).get(MONOTONIC_NS, "")
    return int(text) if text.isdecimal() else 0


def as_line(ns: int, event: Json) -> LogLine:
    """As a line of the logs that tells the same, for ``log_about``."""
    involved, related = event.get("involvedObject") or {}, event.get("related") or {}
    fields = _named(involved) | {REASON: str(event.get("reason", ""))}
    if host := (event.get("source") or {}).get("host"):
        fields.setdefault(NODE, str(host))
    if str(involved.get("apiVersion", "")).startswith(_FAULT_GROUPS):
        fields[FAULT] = fields.pop(OBJECT, "")
    if related:
        fields |= _named(related)
    if fields[REASON] == _MADE and POD_UID in fields and OBJECT in fields:
        fields[OWNER] = fields[OBJECT]
    return LogLine(ns, "", str((event.get("source") or {}).get("component", "")), str(event.get("message", "")),
                   fields=fields)


def _named(reference: Mapping[str, Any]) -> dict[str, str]:
    if not reference.get("name"):
        return {}
    return fields_of({"kind": reference.get("kind", ""), "metadata": reference})


def row(event: Json, now: datetime, *, exact: bool, namespaces: bool) -> Sequence[str]:
    """``exact``: the moment instead of how long ago it is."""
    involved = event.get("involvedObject") or {}
    cells = (when(event, now, exact=exact), str(event.get("type", "")), str(event.get("reason", "")),
             f"{involved.get('kind', '')}/{involved.get('name', '')}", str(event.get("message", "")).strip())
    return (str(event["metadata"].get("namespace", "")), *cells) if namespaces else cells


def when(event: Mapping[str, Any], now: datetime, *, exact: bool = False) -> str:
    """When it was seen last, and how often."""
    moment = last_seen(event)
    count = (event.get("series") or {}).get("count") or event.get("count") or 1
    if moment is None:
        seen = "<unknown>"
    elif exact:
        seen = f"{moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3]}Z"
    else:
        seen = human_duration((now - moment).total_seconds())
    return f"{seen} (x{count})" if count > 1 else seen
