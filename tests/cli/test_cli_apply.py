"""What ``apply`` sends to the API, and how the command line reads durations and prints cells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.api.labels import LAST_APPLIED
from testbed.api.resources import DEPLOYMENTS, ResourceType
from testbed.cli.apply import send
from testbed.cli.connection import Answer
from testbed.cli.output import columns, seconds
from testbed.client.applying import with_last_applied
from testbed.errors import NotFound, UsageError

Json = dict[str, Any]


class OneObject:
    """An API that holds one object, or none, and remembers what it is asked."""

    def __init__(self, stored: Json | None) -> None:
        self.stored, self.asked = stored, list[tuple[str, Any]]()

    def resource_of(self, obj: Json) -> ResourceType:
        return DEPLOYMENTS

    def request(self, method: str, path: str, *, body: Any = None, **more: Any) -> Answer:
        self.asked.append((method, body))
        if method == "GET" and self.stored is None:
            raise NotFound("none")
        changed = {"metadata": {"resourceVersion": "2"}} if method != "GET" else self.stored
        return Answer(200, json.dumps(changed).encode(), ())


def deployment(*mounts: str) -> Json:
    """A container that mounts one volume at several places."""
    container = {"name": "web", "volumeMounts": [{"name": "data", "mountPath": path} for path in mounts]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [container]}}}}


def stored(obj: Json) -> Json:
    """As the server keeps it: with a version, and defaults inside its lists."""
    kept = with_last_applied(obj)
    kept["metadata"]["resourceVersion"] = "1"
    kept["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    return kept


def sent(api: OneObject, obj: Json) -> tuple[str, list[tuple[str, Any]]]:
    _, word = send(api, obj, "default", dry_run=False)  # type: ignore[arg-type]
    return word, api.asked


def test_what_is_not_there_is_created_and_carries_its_manifest() -> None:
    word, asked = sent(OneObject(None), deployment("/a"))
    assert (word, [method for method, _ in asked]) == ("created", ["GET", "POST"])
    assert json.loads(asked[1][1]["metadata"]["annotations"][LAST_APPLIED])["spec"] == deployment("/a")["spec"]


def test_the_same_again_asks_for_no_change() -> None:
    word, asked = sent(OneObject(stored(deployment("/a", "/b"))), deployment("/a", "/b"))
    assert (word, [method for method, _ in asked]) == ("unchanged", ["GET"])


def test_one_of_two_mounts_of_a_volume_can_be_taken_away() -> None:
    """Mounts share a name: who merged them by it lost one, or could not delete it."""
    word, asked = sent(OneObject(stored(deployment("/a", "/b"))), deployment("/b"))
    assert word == "configured"
    assert asked[1][1]["spec"] == deployment("/b")["spec"]


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("1.5s", 1.5)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1s", "1d", "nan", "1 s 2"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


def test_a_cell_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in columns(("NAME",), [("\x1b[2Jweb\r\n",)])
