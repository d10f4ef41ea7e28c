"""What Alertmanager tells, as Events of the objects that it is about. Pure: a notification in, Events out.

An alert is about the object that its labels name: the first of Pod, Deployment, StatefulSet, DaemonSet, Service and
Node that there is, else its namespace, or that of the experiment that it names. Each firing of an alert is one Event,
and so is its end. Its name follows from what it tells: the same told again is counted up, whoever told it and whenever
this process was started. Its moment is that of its first arrival.

Source: Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration/#webhook_config).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from testbed.api.base import View
from testbed.api.labels import ALERT_STARTS_AT, RUNBOOK
from testbed.api.meta import format_time
from testbed.api.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    ResourceType,
)
from testbed.client.event_body import event_body
from testbed.errors import BadRequest, InvalidInput

Json = dict[str, Any]
Home = Callable[[str], str]  # an experiment's name; the namespace of its newest run, "" where there is none
Find = Callable[[ResourceType, str, str], Json | None]  # kind, namespace ("" for what is cluster-wide), name

VERSION = "4"
MAX_ALERTS = 200  # of one notification
COMPONENT = "alertmanager"
FIRING, RESOLVED = "AlertFiring", "AlertResolved"
_MAX_TOLD = 5  # mistakes of one notification
# From the narrowest: a pod's alert carries its node's name too.
_NAMED_BY: tuple[tuple[str, ResourceType], ...] = (
    ("pod", PODS), ("deployment", DEPLOYMENTS), ("statefulset", STATEFUL_SETS), ("daemonset", DAEMON_SETS),
    ("service", SERVICES), ("node", NODES),
)

_Name = Annotated[str, StringConstraints(max_length=256)]
_Text = Annotated[str, StringConstraints(max_length=4096)]


class Alert(View):
    status: Literal["firing", "resolved"]
    labels: Annotated[dict[_Name, _Text], Field(max_length=64)]
    annotations: Annotated[dict[_Name, _Text], Field(max_length=64)] = Field(default_factory=dict)
    starts_at: AwareDatetime

    @property
    def message(self) -> str:
        """``alertname: summary``."""
        told = next((text for key in ("summary", "message", "description") if (text := self.annotations.get(key))), "")
        return ": ".join(part for part in (self.labels.get("alertname", "an alert without a name"), told) if part)

    @property
    def runbook(self) -> str:
        """Where a browser finds what to do; "" where the rule names no such address."""
        told = self.annotations.get("runbook_url", "")
        return told if told.startswith(("https://", "http://")) else ""

    @property
    def digest(self) -> str:
        """The same for each notification of this firing, or of its end; never for another."""
        identity = (self.status, format_time(self.starts_at, micro=True), *sorted(self.labels.items()))
        return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


class Notification(View):
    version: Literal["4"]
    alerts: Annotated[tuple[Alert, ...], Field(max_length=MAX_ALERTS)]


def alerts_of(payload: Any) -> tuple[Alert, ...]:
    """Each once.

    Raises: BadRequest, which says what is wrong and where.
    """
    if not isinstance(payload, dict):
        raise BadRequest("this is no notification of Alertmanager: not a JSON object")
    try:
        alerts = Notification.of(payload).alerts
    except InvalidInput as error:
        told = [str(mistake) for mistake in error.mistakes[:_MAX_TOLD]]
        more = len(error.mistakes) - len(told)
        raise BadRequest(
            f"this is no notification of Alertmanager's webhook, version {VERSION}: " + "; ".join(told)
            + (f"; and {more} more" if more else "")) from None
    return tuple({alert.digest: alert for alert in alerts}.values())


def concerned(alert: Alert, find: Find, home_of: Home) -> Iterator[Json]:
    """Objects that it can be told of, the best first; the last is always there."""
    namespace = alert.labels.get("namespace") or home_of(alert.labels.get("experiment", ""))
    for label, resource in _NAMED_BY:
        place = namespace if resource.namespaced else ""
        name = alert.labels.get(label, "")
        if name and bool(place) == resource.namespaced and (found := find(resource, place, name)) is not None:
            yield found
    if namespace and (home := find(NAMESPACES, "", namespace)) is not None:
        yield home
    yield {"apiVersion": "v1", "kind": NAMESPACES.kind, "metadata": {"name": "default"}}


def event_of(alert: Alert, obj: Json, *, at: datetime, monotonic_ns: int) -> Json:
    """``at``, ``monotonic_ns``: when it arrived."""
    firing = alert.status == "firing"
    return event_body(
        obj, "Warning" if firing else "Normal", FIRING if firing else RESOLVED, alert.message,
        name=f"{obj['metadata']['name']}.{alert.digest}", component=COMPONENT, at=at, monotonic_ns=monotonic_ns,
        annotations={ALERT_STARTS_AT: format_time(alert.starts_at, micro=True),
                     **({RUNBOOK: alert.runbook} if alert.runbook else {})})


def told_again(event: Json, *, at: datetime) -> Json:
    """The patch that counts a stored Event up. Its moment stays: what is told again has not happened again."""
    return {"count": int(event.get("count") or 1) + 1, "lastTimestamp": format_time(at)}
