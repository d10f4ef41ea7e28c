"""``testbed rollout``: what kubectl's rollout does for Deployments."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import typer

from testbed.api.labels import POD_TEMPLATE_HASH, REVISION
from testbed.api.resources import DEPLOYMENTS, REPLICA_SETS
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import EnvironmentProblem, InvalidInput, UsageError

app = typer.Typer()
rollout = typer.Typer(no_args_is_help=True, help="Status, undo, history, restart, pause and resume of a Deployment.")
app.add_typer(rollout, name="rollout")

Target = typer.Argument(..., metavar="DEPLOYMENT", help="web or deploy/web")


def deployment_name(api: Api, text: str) -> str:
    """``web`` or ``deploy/web``. Raises: UsageError for another kind."""
    if "/" not in text:
        return text
    kind, object_name = text.split("/", 1)
    if api.resource(kind) != DEPLOYMENTS:
        raise UsageError(f"{kind} has no rollouts here", hint="rollouts are a Deployment's: deploy/NAME")
    return object_name


def progress(deployment: dict[str, Any]) -> tuple[bool, str]:
    """(done, what to say) (kubernetes: kubectl/pkg/polymorphichelpers/rollout_status.go).

    Raises: EnvironmentProblem when the progress deadline was exceeded.
    """
    spec, status = deployment["spec"], deployment.get("status", {})
    title = f'deployment "{deployment["metadata"]["name"]}"'
    if deployment["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return False, "Waiting for deployment spec update to be observed..."
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise EnvironmentProblem(f"{title} exceeded its progress deadline", hint="see: testbed describe deploy/"
                                     + deployment["metadata"]["name"])
    wanted, total = spec.get("replicas", 1), status.get("replicas", 0)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    waiting = f"Waiting for {title} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{waiting}{available} of {updated} updated replicas are available..."
    return True, f"{title} successfully rolled out"


@rollout.command()
def status(
    target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace,
    watch: bool = typer.Option(True, "--watch/--no-watch", "-w", help="Wait until it is done."),
    timeout: str = typer.Option("0s", "--timeout", help="Give up after this; 0 waits for ever."),
) -> None:
    """Follow a rollout until it is done or has failed."""
    api, limit_s = connect(name), printing.seconds(timeout)
    path = DEPLOYMENTS.path(namespace, deployment_name(api, target))
    deadline, said = time.monotonic() + limit_s if limit_s else None, ""
    while True:
        done, text = progress(api.json("GET", path))
        if text != said:
            printing.out(text)
            said = text
        if done or not watch:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise EnvironmentProblem("the rollout was not done in the given time", hint="wait longer: --timeout 5m")
        time.sleep(0.2)


def revisions(api: Api, namespace: str, deployment: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The Deployment's ReplicaSets by revision."""
    uid = deployment["metadata"]["uid"]
    found = {}
    for item in api.json("GET", REPLICA_SETS.path(namespace))["items"]:
        owners = item["metadata"].get("ownerReferences") or []
        number = (item["metadata"].get("annotations") or {}).get(REVISION)
        if number and any(owner["uid"] == uid for owner in owners):
            found[int(number)] = item
    return found


@rollout.command()
def history(
    target: str = Target, revision: int = typer.Option(0, "--revision", help="Details of one revision."),
    name: str = printing.Name, namespace: str = printing.Namespace,
) -> None:
    """List the revisions."""
    api = connect(name)
    object_name = deployment_name(api, target)
    found = revisions(api, namespace, api.json("GET", DEPLOYMENTS.path(namespace, object_name)))
    if revision:
        if revision not in found:
            raise InvalidInput(f"there is no revision {revision}", hint="known: " + ", ".join(map(str, sorted(found))))
        printing.out(printing.yaml_text(found[revision]["spec"]["template"]))
        return
    rows = [(number, (item["metadata"].get("annotations") or {}).get("kubernetes.io/change-cause", "<none>"),
             ", ".join(container["image"] for container in item["spec"]["template"]["spec"]["containers"]))
            for number, item in sorted(found.items())]
    printing.out(printing.columns(("REVISION", "CHANGE-CAUSE", "IMAGES"), rows))


@rollout.command()
def undo(
    target: str = Target, to_revision: int = typer.Option(0, "--to-revision", help="0 is the one before."),
    name: str = printing.Name, namespace: str = printing.Namespace,
) -> None:
    """Go back to an earlier revision."""
    api = connect(name)
    object_name = deployment_name(api, target)
    deployment = api.json("GET", DEPLOYMENTS.path(namespace, object_name))
    if deployment["spec"].get("paused"):
        raise InvalidInput("a paused Deployment cannot be undone", hint=f"testbed rollout resume {object_name}")
    found = revisions(api, namespace, deployment)
    current = int((deployment["metadata"].get("annotations") or {}).get(REVISION, 0))
    earlier = sorted(number for number in found if number < current)
    number = to_revision or (earlier[-1] if earlier else 0)
    if number not in found:
        raise InvalidInput(f"there is no revision {number}" if to_revision else "there is no earlier revision")
    template = json.loads(json.dumps(found[number]["spec"]["template"]))
    (template["metadata"].get("labels") or {}).pop(POD_TEMPLATE_HASH, None)
    api.request("PATCH", DEPLOYMENTS.path(namespace, object_name), content_type="application/json-patch+json",
                body=[{"op": "replace", "path": "/spec/template", "value": template}])
    printing.out(f"deployment.apps/{object_name} rolled back")


def _patch(target: str, name: str, namespace: str, body: dict[str, Any], word: str) -> None:
    api = connect(name)
    object_name = deployment_name(api, target)
    api.request("PATCH", DEPLOYMENTS.path(namespace, object_name), body=body,
                content_type="application/strategic-merge-patch+json")
    printing.out(f"deployment.apps/{object_name} {word}")


@rollout.command()
def restart(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Replace all pods, as an update does."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotation = {"kubectl.kubernetes.io/restartedAt": now}
    _patch(target, name, namespace, {"spec": {"template": {"metadata": {"annotations": annotation}}}}, "restarted")


@rollout.command()
def pause(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Changes of the template wait."""
    _patch(target, name, namespace, {"spec": {"paused": True}}, "paused")


@rollout.command()
def resume(target: str = Target, name: str = printing.Name, namespace: str = printing.Namespace) -> None:
    """Carry on."""
    _patch(target, name, namespace, {"spec": {"paused": None}}, "resumed")
