"""``testbed delete``: by name, by label, or everything that a manifest names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from testbed.api.resources import ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.cli.get import wanted
from testbed.errors import EnvironmentProblem, NotFound, UsageError

app = typer.Typer()


@app.command()
def delete(
    what: list[str] = typer.Argument(None, metavar="KIND NAME ... | KIND/NAME ...", help="What to delete."),
    files: list[Path] = typer.Option([], "-f", "--filename", help="Manifests that name what to delete."),
    selector: str = typer.Option("", "-l", "--selector", help="Label selector, with a KIND."),
    everything: bool = typer.Option(False, "--all", help="All of a KIND in the namespace."),
    grace_period: int = typer.Option(-1, "--grace-period", help="Seconds; -1 is the object's own."),
    force: bool = typer.Option(False, "--force", help="Do not wait for the node's word (grace period 0)."),
    cascade: str = typer.Option("background", "--cascade", help="background, foreground or orphan."),
    ignore_not_found: bool = typer.Option(False, "--ignore-not-found", help="What is not there is no error."),
    wait: bool = typer.Option(True, "--wait/--no-wait", help="Return when it is gone."),
    timeout: str = typer.Option("120s", "--timeout", help="How long to wait."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """Delete objects."""
    if cascade not in ("background", "foreground", "orphan"):
        raise UsageError(f"--cascade {cascade!r} is not known", hint="background, foreground or orphan")
    api = connect(name)
    options: dict[str, Any] = {"propagationPolicy": cascade.capitalize()}
    if force or grace_period >= 0:
        options["gracePeriodSeconds"] = 0 if force else grace_period
    targets = _targets(api, what or [], files, selector, everything, namespace)
    deadline = time.monotonic() + printing.seconds(timeout)
    gone = [(resource, scope, target, uid) for resource, scope, target in targets
            if (uid := _delete(api, resource, scope, target, options, ignore_not_found)) is not None]
    for resource, scope, target, uid in gone if wait else []:
        _wait(api, resource, scope, target, uid, deadline)


def _targets(
    api: Api, what: list[str], files: list[Path], selector: str, everything: bool, namespace: str
) -> list[tuple[ResourceType, str | None, str]]:
    if bool(what) == bool(files):
        raise UsageError("name what to delete, or give -f FILE")
    if files:
        from testbed.cli.apply import read_objects

        found = []
        for document in reversed(read_objects(files)):
            resource = api.resource_of(document.value)
            metadata = document.value["metadata"]
            scope = metadata.get("namespace") or namespace
            found.append((resource, scope if resource.namespaced else None, metadata["name"]))
        return found
    found = []
    for resource, object_name in wanted(api, what):
        place = namespace if resource.namespaced else None
        if object_name:
            found.append((resource, place, object_name))
            continue
        if not selector and not everything:
            raise UsageError(f"which {resource.plural}?", hint="give names, -l SELECTOR or --all")
        items = api.json("GET", resource.path(place), query={"labelSelector": selector} if selector else None)["items"]
        found += [(resource, place, item["metadata"]["name"]) for item in items]
    return found


def _delete(
    api: Api, resource: ResourceType, scope: str | None, target: str, options: dict[str, Any], ignore_not_found: bool
) -> str | None:
    """UID of what was deleted, ``""`` when the answer does not say; None: there was nothing."""
    try:
        answer = api.json("DELETE", resource.path(scope, target), body=options)
    except NotFound:
        if ignore_not_found:
            return None
        raise
    printing.out(f'{resource.singular or resource.kind.lower()}{"." + resource.group if resource.group else ""} '
                 f'"{target}" deleted')
    return str((answer.get("metadata") or {}).get("uid") or (answer.get("details") or {}).get("uid") or "")


def _wait(api: Api, resource: ResourceType, scope: str | None, target: str, uid: str, deadline: float) -> None:
    """Until it is gone, or another object has its name: a StatefulSet's pod comes back under it at once."""
    while True:
        try:
            found = api.json("GET", resource.path(scope, target))
        except NotFound:
            return
        if uid and found["metadata"].get("uid") != uid:
            return
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"{resource.plural}/{target} is still being deleted",
                                     hint="wait longer (--timeout), or look at its finalizers and its node")
        time.sleep(0.1)
