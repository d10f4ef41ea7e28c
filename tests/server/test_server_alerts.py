"""What Alertmanager tells becomes Events of the objects it is about; a payload that is none is refused in words."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.labels import RUNBOOK
from testbed.api.resources import DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICES, STATEFUL_SETS, ResourceType
from testbed.errors import BadRequest
from testbed.server.alerts import MAX_ALERTS, Alert, alerts_of, concerned, event_of, told_again

Json = dict[str, Any]
NOW = datetime(2026, 11, 29, 12, 0, 5, 250000, tzinfo=UTC)

# As Alertmanager 0.25 sent it.
NOTIFICATION: Json = {
    "receiver": "testbed-default", "status": "firing",
    "alerts": [
        {"status": "firing",
         "labels": {"alertname": "DeploymentDown", "deployment": "web", "instance": "default", "job": "testbed",
                    "namespace": "shop", "severity": "critical"},
         "annotations": {"description": "Its users get no answer on default until one is.",
                         "summary": "No replica of shop/web is ready"},
         "startsAt": "2026-11-29T12:00:03.214Z", "endsAt": "0001-01-01T00:00:00Z",
         "generatorURL": "http://host:9090/graph?g0.expr=deployment%3Areplicas_ready%3Aratio+%3D%3D+0&g0.tab=1",
         "fingerprint": "8e1a2a3a5b7a4b57"},
        {"status": "resolved",
         "labels": {"alertname": "DeploymentDown", "deployment": "cart", "instance": "default", "job": "testbed",
                    "namespace": "shop", "severity": "critical"},
         "annotations": {"summary": "No replica of shop/cart is ready"},
         "startsAt": "2026-11-29T11:59:43.214Z", "endsAt": "2026-11-29T12:00:01.214Z",
         "generatorURL": "http://host:9090/graph", "fingerprint": "0a1a2a3a5b7a4b58"},
    ],
    "groupLabels": {"alertname": "DeploymentDown", "instance": "default", "namespace": "shop"},
    "commonLabels": {"alertname": "DeploymentDown", "instance": "default", "job": "testbed", "namespace": "shop",
                     "severity": "critical"},
    "commonAnnotations": {}, "externalURL": "http://host:9093", "version": "4",
    "groupKey": "{}/{instance=\"default\",job=\"testbed\"}:{alertname=\"DeploymentDown\", instance=\"default\"}",
    "truncatedAlerts": 0,
}


def notification(**changes: Any) -> Json:
    return {**copy.deepcopy(NOTIFICATION), **changes}


def with_alert(**changes: Any) -> Json:
    return notification(alerts=[{**copy.deepcopy(NOTIFICATION["alerts"][0]), **changes}])


def alert(**labels: str) -> Alert:
    return alerts_of(with_alert(labels={"alertname": "A", **labels}))[0]


def told(of: Alert) -> Json:
    return event_of(of, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop",
                                                                           "uid": "u1"}}, at=NOW, monotonic_ns=77)


class Objects:
    """What a cluster has, by kind, namespace and name."""

    def __init__(self, *there: tuple[ResourceType, str, str]) -> None:
        self._there = set(there)

    def __call__(self, resource: ResourceType, namespace: str, name: str) -> Json | None:
        if (resource, namespace, name) not in self._there:
            return None
        return {"apiVersion": resource.api_version, "kind": resource.kind,
                "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), "uid": "u"}}


CLUSTER = Objects(
    (NAMESPACES, "", "default"), (NAMESPACES, "", "shop"), (PODS, "shop", "web-1"), (DEPLOYMENTS, "shop", "web"),
    (STATEFUL_SETS, "shop", "store"), (SERVICES, "shop", "web"), (NODES, "", "node-1"))


def home_of(experiment: str) -> str:
    return {"crash": "shop"}.get(experiment, "")


def test_a_notification_is_read_alert_by_alert() -> None:
    firing, resolved = alerts_of(NOTIFICATION)
    assert (firing.status, resolved.status) == ("firing", "resolved")
    assert firing.message == "DeploymentDown: No replica of shop/web is ready"
    assert firing.labels["deployment"] == "web"


def test_a_firing_alert_is_a_warning_with_both_clocks_and_its_own_beginning() -> None:
    event = told(alerts_of(NOTIFICATION)[0])
    assert (event["type"], event["reason"]) == ("Warning", "AlertFiring")
    assert event["message"] == "DeploymentDown: No replica of shop/web is ready"
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "namespace": "shop",
                                       "uid": "u1"}
    assert event["metadata"]["annotations"] == {"testbed.io/monotonic-ns": "77",
                                                "testbed.io/alert-starts-at": "2026-11-29T12:00:03.214000Z"}
    assert event["eventTime"] == "2026-11-29T12:00:05.250000Z" and event["source"] == {"component": "alertmanager"}


def test_its_end_is_an_event_of_its_own() -> None:
    firing, resolved = (told(alerts_of(with_alert(status=status))[0]) for status in ("firing", "resolved"))
    assert (resolved["type"], resolved["reason"]) == ("Normal", "AlertResolved")
    assert firing["metadata"]["name"] != resolved["metadata"]["name"]


def test_the_same_told_again_has_the_same_name_and_another_firing_has_another() -> None:
    name = told(alerts_of(with_alert())[0])["metadata"]["name"]
    same = with_alert(endsAt="2026-11-29T12:01:00Z", startsAt="2026-11-29T13:00:03.214+01:00")
    assert told(alerts_of(same)[0])["metadata"]["name"] == name
    assert told(alerts_of(with_alert(startsAt="2026-11-29T12:00:04Z"))[0])["metadata"]["name"] != name
    assert told(alert(pod="web-1"))["metadata"]["name"] != name


def test_a_repetition_counts_up_and_moves_no_moment() -> None:
    patch = told_again({"count": 3}, at=NOW)
    assert patch == {"count": 4, "lastTimestamp": "2026-11-29T12:00:05Z"}


def test_an_alert_that_a_notification_holds_twice_is_one() -> None:
    twice = notification(alerts=[NOTIFICATION["alerts"][0]] * 2)
    assert len(alerts_of(twice)) == 1


@pytest.mark.parametrize(("labels", "kind", "name"), [
    ({"namespace": "shop", "pod": "web-1", "node": "node-1", "deployment": "web"}, "Pod", "web-1"),
    ({"namespace": "shop", "deployment": "web", "service": "web"}, "Deployment", "web"),
    ({"namespace": "shop", "statefulset": "store"}, "StatefulSet", "store"),
    ({"namespace": "shop", "service": "web", "node": "node-1"}, "Service", "web"),
    ({"node": "node-1"}, "Node", "node-1"),
    ({"namespace": "shop", "node": "node-1"}, "Node", "node-1"),
    ({"namespace": "shop", "pod": "gone"}, "Namespace", "shop"),
    ({"namespace": "shop", "pod": "gone", "deployment": "web"}, "Deployment", "web"),
    ({"namespace": "shop"}, "Namespace", "shop"),
    ({"pod": "web-1"}, "Namespace", "default"),
    ({"namespace": "gone", "pod": "web-1"}, "Namespace", "default"),
    ({"experiment": "crash"}, "Namespace", "shop"),
    ({"experiment": "crash", "namespace": "default"}, "Namespace", "default"),
    ({"experiment": "crash", "deployment": "web"}, "Deployment", "web"),
    ({"experiment": "another"}, "Namespace", "default"),
    ({"namespace": "", "pod": "", "node": ""}, "Namespace", "default"),
])
def test_an_alert_is_about_the_narrowest_object_that_there_is(labels: dict[str, str], kind: str, name: str) -> None:
    best = next(iter(concerned(alert(**labels), CLUSTER, home_of)))
    assert (best["kind"], best["metadata"]["name"]) == (kind, name)


@given(st.dictionaries(st.sampled_from(["namespace", "pod", "deployment", "service", "node", "x"]), st.text()))
def test_whatever_its_labels_are_there_is_somebody_to_tell_it_of(labels: dict[str, str]) -> None:
    *_, last = concerned(alert(**labels), CLUSTER, home_of)
    assert (last["kind"], last["metadata"]["name"]) == ("Namespace", "default")


@pytest.mark.parametrize(("annotations", "message"), [
    ({"summary": "s", "description": "d"}, "A: s"), ({"message": "m"}, "A: m"), ({"description": "d"}, "A: d"),
    ({}, "A"), ({"runbook_url": "u"}, "A"),
])
def test_a_message_is_the_name_and_what_its_rule_says(annotations: dict[str, str], message: str) -> None:
    changed = with_alert(labels={"alertname": "A"}, annotations=annotations)
    assert alerts_of(changed)[0].message == message


@pytest.mark.parametrize(("url", "kept"), [
    ("https://127.0.0.1:29990/testbed/v1/runbooks#a", True), ("http://wiki.example/a", True),
    ("docs/runbooks.md#a", False), ("javascript:alert(1)", False), ("", False),
])
def test_an_event_carries_the_runbook_that_a_browser_can_open(url: str, kept: bool) -> None:
    told_by = alerts_of(with_alert(annotations={"runbook_url": url}))[0]
    pod = {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}}
    event = event_of(told_by, pod, at=NOW, monotonic_ns=1)
    assert event["metadata"]["annotations"].get(RUNBOOK) == (url if kept else None)


@pytest.mark.parametrize(("payload", "says"), [
    ([], "not a JSON object"), ("text", "not a JSON object"), (None, "not a JSON object"),
    ({}, "version"), (notification(version="3"), "version"), (notification(version=4), "version"),
    (notification(alerts=None), "alerts"), (notification(alerts={}), "alerts"), (notification(alerts=[1]), "alerts[0]"),
    (with_alert(status="burning"), "alerts[0].status"), (with_alert(status=None), "alerts[0].status"),
    (with_alert(labels=[]), "alerts[0].labels"), (with_alert(labels={"a": 1}), "alerts[0].labels.a"),
    (with_alert(labels={"a": "x" * 5000}), "alerts[0].labels.a"),
    (with_alert(labels={f"l{k}": "" for k in range(65)}), "alerts[0].labels"),
    (with_alert(annotations={"summary": {}}), "alerts[0].annotations.summary"),
    (with_alert(startsAt="yesterday"), "alerts[0].startsAt"), (with_alert(startsAt=None), "alerts[0].startsAt"),
    (with_alert(startsAt="2026-11-29T12:00:03"), "alerts[0].startsAt"),
    (notification(alerts=NOTIFICATION["alerts"] * MAX_ALERTS), "alerts"),
])
def test_what_is_no_notification_is_refused_with_the_place(payload: Any, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        alerts_of(payload)
    assert refused.value.code == 400 and says in refused.value.message
    assert len(refused.value.message) < 2000


def test_of_many_mistakes_some_are_told_and_the_rest_counted() -> None:
    with pytest.raises(BadRequest, match="and 15 more"):
        alerts_of(notification(alerts=[{"status": "x", "startsAt": "", "labels": {}}] * 10))


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                     lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15)


@given(_JSON | st.fixed_dictionaries({"version": st.just("4"), "alerts": st.lists(st.fixed_dictionaries(
    {"status": _JSON, "labels": _JSON, "startsAt": _JSON}))}))
def test_whatever_arrives_is_read_or_refused(payload: Any) -> None:
    try:
        alerts_of(payload)
    except BadRequest:
        pass
