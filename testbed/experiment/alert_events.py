"""What an Event says of an alert: that it fires or is over, since when, and when it was last told. Pure.

The control plane writes such Events for what Alertmanager tells it: reason ``AlertFiring`` or ``AlertResolved``, the
message is the alert's name and summary, and the moment is that of the first arrival. Told again, it is counted up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from testbed.api.labels import ALERT_STARTS_AT
from testbed.api.meta import parse_time

FIRING, RESOLVED = "AlertFiring", "AlertResolved"


def is_alert(obj: Mapping[str, Any]) -> bool:
    return obj.get("reason") in (FIRING, RESOLVED)


def alert_name(message: str) -> str:
    """Of ``alertname: summary``."""
    return message.partition(": ")[0]


def fires_since(obj: Mapping[str, Any], at: float) -> float | None:
    """Since when the alert fires by its own word, on the clock of ``at``, when it first arrived; None where it does not
    say."""
    arrived = _moment(obj.get("eventTime"))
    since = _moment((obj["metadata"].get("annotations") or {}).get(ALERT_STARTS_AT))
    return None if arrived is None or since is None else at - (arrived - since).total_seconds()


def last_told(obj: Mapping[str, Any]) -> datetime | None:
    """When it was last told, on the wall clock; None where it does not say."""
    known = [moment for key in ("eventTime", "lastTimestamp") if (moment := _moment(obj.get(key))) is not None]
    return max(known, default=None)


def _moment(text: Any) -> datetime | None:
    try:
        moment = parse_time(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
