"""``testbed logs``: one container's log as kubectl prints it, many merged, or those of the cluster's own processes.

What is meant by the flags is decided here; many containers are read by ``log_reading`` and ``log_following``, our own
processes by ``log_system``.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.api.resources import PODS
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import ApiUnavailable, NotFound, UsageError

if TYPE_CHECKING:
    from testbed.cli.log_choice import Wanted
    from testbed.cli.log_reading import Told
    from testbed.client.aio import HttpClient

app = typer.Typer()
MAX_LINES = 10_000


@dataclass(frozen=True)
class _Flags:
    """What was asked for, as it was written."""

    what: str
    selector: str
    container: str
    follow: bool
    tail: int
    since: str
    every: bool
    max_lines: int
    timestamps: bool
    namespace: str
    all_namespaces: bool

    @property
    def merged(self) -> bool:
        return bool(self.selector) or self.every or self.all_namespaces


@app.command()
def logs(
    what: str = typer.Argument("", metavar="[POD | KIND/NAME]", help="A pod, or deploy/web for one of its pods."),
    selector: str = typer.Option("", "-l", "--selector", help="All pods with these labels, merged: app=web."),
    every: bool = typer.Option(False, "--all", help="All containers, with what their lives before this one left."),
    all_namespaces: bool = typer.Option(False, "-A", "--all-namespaces", help="All namespaces."),
    container: str = typer.Option("", "-c", "--container", help="Which container."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on, through restarts."),
    tail: int = typer.Option(-1, "--tail", help="Only the last lines of each container (with -l alone: 10)."),
    max_lines: int = typer.Option(MAX_LINES, "--max-lines", min=1, help="Of all together, the newest."),
    previous: bool = typer.Option(False, "-p", "--previous", help="Of the container before the last restart."),
    since: str = typer.Option("", "--since", help="Only what is newer than this, e.g. 30s."),
    timestamps: bool = typer.Option(False, "--timestamps", help="With times."),
    system: bool = typer.Option(False, "--system", help="Of the cluster's own processes, on one clock."),
    about: str = typer.Option("", "--about", metavar="POD|NODE|FAULT", help="With --system: what concerns this."),
    as_json: bool = typer.Option(False, "--json", help="With --system: the lines as they are written."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """Print a container's log, those of many merged, or those of the cluster's own processes."""
    flags = _Flags(what, selector, container, follow, tail, since, every, max_lines, timestamps, namespace,
                   all_namespaces)
    _check(flags, previous=previous, system=system, about=about, as_json=as_json)
    if system:
        _system(load_instance(instance_directory(name)), flags, about, as_json)
    elif flags.merged:
        _merged(name, flags)
    else:
        _one(connect(name), flags, previous)


def _check(flags: _Flags, *, previous: bool, system: bool, about: str, as_json: bool) -> None:
    """Raises: UsageError for flags that mean nothing together."""
    if (about or as_json) and not system:
        raise UsageError("--about and --json are for --system", hint="testbed logs --system --about web-1")
    if system and (flags.what or flags.merged or flags.container or previous or flags.tail >= 0):
        raise UsageError("--system prints the cluster's own processes: no pod, container or --tail goes with it",
                         hint="testbed logs --system --about POD, and --max-lines for the newest lines")
    if not system and not flags.what and not flags.selector and not flags.all_namespaces:
        raise UsageError("whose log?", hint="testbed logs POD, testbed logs -l app=web, or testbed logs --system")
    if flags.what and (flags.selector or flags.all_namespaces):
        raise UsageError("write either a name or -l and -A")
    if previous and flags.merged:
        raise UsageError("--all prints what the containers before wrote too; -p is for one container")
    if flags.every and flags.container:
        raise UsageError("write either --all or -c")


def _one(api: Api, flags: _Flags, previous: bool) -> None:
    """As kubectl does: the bytes as they come."""
    query = {"container": flags.container, "follow": "true" if flags.follow else "",
             "previous": "true" if previous else "", "timestamps": "true" if flags.timestamps else "",
             "tailLines": str(flags.tail) if flags.tail >= 0 else "",
             "sinceSeconds": str(max(1, int(printing.seconds(flags.since)))) if flags.since else ""}
    path = PODS.path(flags.namespace, pod_of(api, flags.what, flags.namespace), "log")
    for line in api.lines(path, {key: value for key, value in query.items() if value}, "*/*"):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


# --- many containers

def _merged(name: str, flags: _Flags) -> None:
    from testbed.client.aio import HttpClient

    wanted = _wanted(name, flags)
    asyncio.run(_read(HttpClient.of_instance(load_instance(instance_directory(name))), wanted, flags))


def _wanted(name: str, flags: _Flags) -> Wanted:
    """Raises: UsageError for a duration that is none; what ``selector_of`` raises."""
    from time import time_ns

    from testbed.cli.log_choice import SELECTOR_TAIL, Wanted

    selector, pod = flags.selector, ""
    if flags.what:
        pod, selector = selector_of(connect(name), flags.what, flags.namespace)
    few = not flags.every and not flags.since
    return Wanted(
        None if flags.all_namespaces else flags.namespace, selector, pod, flags.container, flags.every,
        since_ns=time_ns() - int(printing.seconds(flags.since) * 1e9) if flags.since else 0,
        tail=flags.tail if flags.tail >= 0 else SELECTOR_TAIL if few else None)


async def _read(client: HttpClient, wanted: Wanted, flags: _Flags) -> None:
    from testbed.cli.log_choice import moment_text, sources_of
    from testbed.cli.log_following import Following
    from testbed.cli.log_prefixes import Prefixes
    from testbed.cli.log_reading import pods_of, read_all

    shown = Prefixes(terminal=sys.stdout.isatty(), colour=printing.coloured(), namespaces=flags.all_namespaces)

    def tell(line: Told) -> None:
        source, at_ns, text = line
        printing.out(shown.show(source, f"{moment_text(at_ns)} {text}" if flags.timestamps else text))

    try:
        pods = await pods_of(client, wanted)
        for pod in pods:
            for source in sources_of(pod, wanted):
                shown.expect(source)
        if flags.follow:
            await Following(client, wanted, tell, printing.say).run()
            return
        if not pods:
            printing.say("No pods found" + (f" in namespace {wanted.namespace!r}." if wanted.namespace else "."))
        newest, problems = await read_all(client, pods, wanted, flags.max_lines)
    finally:
        await client.close()
    _told_left_out(newest.left_out)
    lines = newest.in_order()
    for line in lines:
        tell(line)
    if pods and not lines and not problems and flags.tail:
        printing.say(logged_nothing(len(pods), flags.since))
    for problem in problems:
        printing.say(f"not read: {problem}")
    if problems:
        raise ApiUnavailable(f"{len(problems)} of the logs could not be read")


def logged_nothing(pods: int, since: str) -> str:
    """So that silence is not taken for a fault of ours."""
    who = "1 pod has" if pods == 1 else f"{pods} pods have"
    return f"{who} logged nothing" + (f" in the last {since}" if since else "")


def _told_left_out(count: int) -> None:
    if count:
        printing.say(f"{count} older lines are left out: --max-lines")


# --- our own processes

def _system(instance: Instance, flags: _Flags, about: str, as_json: bool) -> None:
    from testbed.api.log_lines import LogLine, for_people
    from testbed.cli.log_system import SystemLog, monotonic_ns_before

    def tell(line: LogLine) -> None:
        printing.out(line.to_json() if as_json else for_people(line))

    since_ns = monotonic_ns_before(printing.seconds(flags.since)) if flags.since else 0
    log = SystemLog(instance.directory / "logs", since_ns=since_ns, word=about)
    lines, left_out = log.written(flags.max_lines)
    _told_left_out(left_out)
    for line in lines:
        tell(line)
    if flags.follow:
        asyncio.run(log.follow(tell))
    elif not lines:
        printing.say("no line" + (f" is about {about!r}" if about else "")
                     + (f"; there is {', '.join(log.like)}" if log.like else ""))


# --- which pods

def selector_of(api: Api, what: str, namespace: str) -> tuple[str, str]:
    """A pod's name and "", or "" and the label selector of what ``KIND/NAME`` selects. Raises: UsageError, NotFound."""
    if "/" not in what:
        return what, ""
    kind, object_name = what.split("/", 1)
    resource = api.resource(kind)
    if resource.plural == "pods":
        return object_name, ""
    spec = api.json("GET", resource.path(namespace, object_name)).get("spec", {})
    selector = spec.get("selector") or {}
    labels = selector.get("matchLabels", selector)
    if not labels:
        raise UsageError(f"{what} selects no pods")
    return "", ",".join(f"{key}={value}" for key, value in labels.items() if isinstance(value, str))


def pod_of(api: Api, what: str, namespace: str) -> str:
    """The name of a pod: given as such, or the first ready one of what ``KIND/NAME`` selects."""
    pod, selector = selector_of(api, what, namespace)
    if pod:
        return pod
    pods = api.json("GET", PODS.path(namespace), query={"labelSelector": selector})["items"]
    if not pods:
        raise NotFound(f"{what} has no pods")
    ready = [pod for pod in pods for item in pod.get("status", {}).get("conditions", [])
             if item["type"] == "Ready" and item["status"] == "True"]
    return str((ready or pods)[0]["metadata"]["name"])
