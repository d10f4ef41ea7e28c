"""``testbed rollout``: what kubectl's rollout does for Deployments, StatefulSets and DaemonSets."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import typer

from testbed.api.labels import POD_TEMPLATE_HASH, REVISION
from testbed.api.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    ResourceType,
)
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.cli.rollout_progress import progress
from testbed.errors import EnvironmentProblem, InvalidInput, UsageError

app = typer.Typer()
rollout = typer.Typer(
    no_args_is_help=True,
    help="Status, undo, history, restart of a Deployment, StatefulSet or DaemonSet; pause, resume of a Deployment.",
)
app.add_typer(rollout, name="rollout")

ROLLED = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
Target = typer.Argument(..., metavar="[KIND/]NAME", help="web, deploy/web, sts/db or ds/agent")


def target_of(api: Api, text: str) -> tuple[ResourceType, str]:
    """``web``, ``deploy/web``, ``sts/db``, ``ds/agent``. Raises: UsageError for another kind."""
    if "/" not in text:
        return DEPLOYMENTS, text
    kind, object_name = text.split("/", 1)
    resource = api.resource(kind)
    if resource not in ROLLED:
        raise UsageError(f"{kind} has no rollouts", hint="deploy/NAME, sts/NAME and ds/NAME have")
    return resource, object_name


@rollout.command()
def status(
    target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace,
    watch: bool = typer.Option(True, "--watch/--no-watch", "-w", help="Wait until it is done."),
    timeout: str = typer.Option("0s", "--timeout", help="Give up after this; 0 waits for ever."),
) -> None:
    """Follow a rollout until it is done or has failed."""
    api, limit_s = connect(name), printing.seconds(timeout)
    resource, object_name = target_of(api, target)
    path = resource.path(namespace, object_name)
    deadline, said = time.monotonic() + limit_s if limit_s else None, ""
    while True:
        done, text = progress(resource.kind, api.json("GET", path))
        if text != said:
            printing.out(text)
            said = text
        if done or not watch:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise EnvironmentProblem("the rollout was not done in the given time", hint="wait longer: --timeout 5m")
        time.sleep(0.2)


def revisions(api: Api, resource: ResourceType, namespace: str, obj: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """What keeps the revisions, by number: a Deployment's ReplicaSets, ControllerRevisions of the others."""
    uid, found = obj["metadata"]["uid"], {}
    keeper = REPLICA_SETS if resource == DEPLOYMENTS else CONTROLLER_REVISIONS
    for item in api.json("GET", keeper.path(namespace))["items"]:
        owners = item["metadata"].get("ownerReferences") or []
        noted = (item["metadata"].get("annotations") or {}).get(REVISION)
        number = noted if keeper == REPLICA_SETS else item["revision"]
        if number and any(owner["uid"] == uid for owner in owners):
            found[int(number)] = item
    return found


def template_of(revision: dict[str, Any]) -> dict[str, Any]:
    """The pod template of a ReplicaSet or ControllerRevision, without what only marks the revision."""
    spec = (revision.get("data") or revision)["spec"]
    template: dict[str, Any] = json.loads(json.dumps(spec["template"]))
    template.pop("$patch", None)
    (template["metadata"].get("labels") or {}).pop(POD_TEMPLATE_HASH, None)
    return template


@rollout.command()
def history(
    target: str = Target, revision: int = typer.Option(0, "--revision", help="Details of one revision."),
    name: str = printing.Name, namespace: str = printing.Namespace,
) -> None:
    """List the revisions."""
    api = connect(name)
    resource, object_name = target_of(api, target)
    found = revisions(api, resource, namespace, api.json("GET", resource.path(namespace, object_name)))
    if revision:
        if revision not in found:
            raise InvalidInput(f"there is no revision {revision}", hint="known: " + ", ".join(map(str, sorted(found))))
        printing.out(printing.yaml_text(template_of(found[revision])))
        return
    rows = [(number, (item["metadata"].get("annotations") or {}).get("kubernetes.io/change-cause", "<none>"),
             ", ".join(container["image"] for container in template_of(item)["spec"]["containers"]))
            for number, item in sorted(found.items())]
    printing.out(printing.columns(("REVISION", "CHANGE-CAUSE", "IMAGES"), rows))


@rollout.command()
def undo(
    target: str = Target, to_revision: int = typer.Option(0, "--to-revision", help="0 is the one before."),
    name: str = printing.Name, namespace: str = printing.Namespace,
) -> None:
    """Go back to an earlier revision."""
    api = connect(name)
    resource, object_name = target_of(api, target)
    obj = api.json("GET", resource.path(namespace, object_name))
    if obj["spec"].get("paused"):
        raise InvalidInput("a paused Deployment cannot be undone", hint=f"testbed rollout resume {object_name}")
    found = revisions(api, resource, namespace, obj)
    if resource == DEPLOYMENTS:
        current = int((obj["metadata"].get("annotations") or {}).get(REVISION, 0))
    else:
        current = max(found, default=0)
    earlier = sorted(number for number in found if number < current)
    number = to_revision or (earlier[-1] if earlier else 0)
    if number not in found:
        raise InvalidInput(f"there is no revision {number}" if to_revision else "there is no earlier revision")
    api.request("PATCH", resource.path(namespace, object_name), content_type="application/json-patch+json",
                body=[{"op": "replace", "path": "/spec/template", "value": template_of(found[number])}])
    printing.out(f"{_word(resource)}/{object_name} rolled back")


def _word(resource: ResourceType) -> str:
    return f"{resource.kind.lower()}.{resource.group}"


def _patch(
    target: str, name: str, namespace: str, body: dict[str, Any], word: str, *, only: ResourceType | None = None
) -> None:
    """``only``: the one kind that has this."""
    api = connect(name)
    resource, object_name = target_of(api, target)
    if only is not None and resource != only:
        raise UsageError(f"a {resource.kind} cannot be {word}", hint=f"only a {only.kind} can")
    api.request("PATCH", resource.path(namespace, object_name), body=body,
                content_type="application/strategic-merge-patch+json")
    printing.out(f"{_word(resource)}/{object_name} {word}")


@rollout.command()
def restart(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Replace all pods, as an update does."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotation = {"kubectl.kubernetes.io/restartedAt": now}
    _patch(target, name, namespace, {"spec": {"template": {"metadata": {"annotations": annotation}}}}, "restarted")


@rollout.command()
def pause(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Changes of the template wait."""
    _patch(target, name, namespace, {"spec": {"paused": True}}, "paused", only=DEPLOYMENTS)


@rollout.command()
def resume(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Carry on."""
    _patch(target, name, namespace, {"spec": {"paused": None}}, "resumed", only=DEPLOYMENTS)
