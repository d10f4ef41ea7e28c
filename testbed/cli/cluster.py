"""``testbed up``, ``down``, ``status``, ``kubeconfig``: a cluster as a whole."""

from __future__ import annotations

import typer

from testbed.api.instance import NODE_KINDS
from testbed.api.instance_files import instance_directory, load_instance, state_root
from testbed.cli import output as printing
from testbed.cli.nodes import cable_word
from testbed.core.profile import PROFILES
from testbed.errors import EnvironmentProblem, UsageError

app = typer.Typer()


@app.command()
def up(
    name: str = printing.Name,
    nodes: int = typer.Option(3, "--nodes", min=1, max=100, help="How many nodes."),
    profile: str = typer.Option("fast", "--profile", help="fast, or kubernetes (upstream's timing constants)."),
    node_cpu: str = typer.Option("", "--node-cpu", help="A real limit for each node, e.g. 2; default the machine's."),
    node_memory: str = typer.Option("", "--node-memory", help="The same for memory, e.g. 2Gi."),
    node_disk: str = typer.Option("", "--node-disk", help="The same for volumes on disk, e.g. 1Gi."),
    node_kind: str = typer.Option("slice", "--node-kind", help="slice: shares of this machine's engine; engine: each "
                                  "node a container with an engine of its own and the agent inside."),
    allow_privileged: bool = typer.Option(False, "--allow-privileged", help="Containers may be privileged and add any "
                                          "capability: practically root on this machine."),
    zones: int = typer.Option(0, "--zones", min=0, max=100, help="Spread the nodes over so many zones "
                              "(topology.kubernetes.io/zone: zone-1, zone-2 ...)."),
    supervisor: str = typer.Option("testbed", "--supervisor", help="Who looks after the containers: testbed, or "
                                   "another orchestrator behind the same API: compose, swarm (docs/platforms.md)."),
    option: list[str] = typer.Option([], "--supervisor-option", metavar="NAME=VALUE", help="A switch of that "
                                     "orchestrator, such as autoheal=true of compose."),
) -> None:
    """Bring a cluster up."""
    import time

    from testbed.machines.shape import Shape
    from testbed.machines.up import bring_up

    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", hint="one of: " + ", ".join(PROFILES))
    if node_kind not in NODE_KINDS:
        raise UsageError(f"there are no nodes of kind {node_kind!r}", hint="one of: " + ", ".join(NODE_KINDS))
    started = time.monotonic()
    shape = Shape(nodes, profile, node_cpu, node_memory, node_disk, node_kind, zones, allow_privileged, supervisor,
                  _options(option))
    instance = bring_up(name, shape, progress=printing.say)
    ours = f"{nodes} node{'s' if nodes != 1 else ''} Ready"
    what = f"run by {instance.platform}, Ready" if instance.foreign else ours
    printing.say(f"cluster {name!r} is up: {what} in {time.monotonic() - started:.1f} s")
    printing.say(f"  kubectl:  export KUBECONFIG={instance.kubeconfig}")
    printing.say(f"  next:     testbed apply -f FILE{'' if name == 'default' else f' --name {name}'}")


def _options(given: list[str]) -> dict[str, str]:
    """Raises: UsageError."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"--supervisor-option {each!r} is not NAME=VALUE")
        found[name] = value
    return found


@app.command()
def down(
    name: str = printing.Name,
    everything: bool = typer.Option(False, "--all", help="All clusters of this user."),
    lost: bool = typer.Option(False, "--lost", help="Its state directory is lost: remove what the engine has of it."),
) -> None:
    """Take a cluster down and remove exactly what it made."""
    from testbed.machines.monitoring_site import kept_data
    from testbed.machines.up import take_down

    if everything and lost:
        raise UsageError("--lost goes with the name of one cluster", hint="testbed down --lost --name NAME")
    for each in _known() if everything else [name]:
        take_down(each, lost=lost, progress=printing.say)
        printing.say(f"cluster {each!r} is down")
        if kept_data(instance_directory(each)):
            printing.say(f"  what Prometheus recorded of it stays: testbed monitor up --name {each} shows it, "
                         f"testbed monitor down --name {each} removes it")


def _known() -> list[str]:
    root = state_root()
    return sorted(path.parent.name for path in root.glob("*/instance.json")) if root.is_dir() else []


@app.command()
def status(
    name: str = typer.Option("", "--name", envvar="TESTBED_NAME", help="Which cluster; all when absent."),
    output: str = printing.Output,
) -> None:
    """Processes, nodes and ports of a cluster; without a name, all clusters."""
    from dataclasses import asdict

    from testbed.machines.client import room_status

    names = [name] if name else _known()
    if not names:
        printing.say("no cluster is up\n  start one: testbed up")
        return
    found = {}
    for each in names:
        instance = load_instance(instance_directory(each))
        try:
            found[each] = asdict(room_status(instance.room_socket))
        except EnvironmentProblem as error:
            if name:
                raise
            found[each] = {"problem": error.message}
    if output:
        printing.dump(found, output)
        return
    for each, value in found.items():
        _print_status(each, value)


def _print_status(name: str, value: dict[str, object]) -> None:
    if "problem" in value:
        printing.out(f"cluster {name}: {value['problem']}\n")
        return
    printing.out(f"cluster {name}  id {value['id']}  profile {value['profile']}  api https://127.0.0.1:{value['api_port']}")
    ports = value.get("ingress_ports")
    if isinstance(ports, list | tuple) and len(ports) == 2:
        printing.out(f"ingress  http://127.0.0.1:{ports[0]}  https://127.0.0.1:{ports[1]}  once there is an Ingress")
    nodes, processes = value["nodes"], value["processes"]
    assert isinstance(nodes, list | tuple) and isinstance(processes, list | tuple)
    printing.out("")
    printing.out(printing.columns(
        ("NODE", "POWER", "CABLE", "PODS"),
        [(node["name"], "on" if node["powered"] else "OFF", cable_word(node["cable"]), node["pod_cidr"])
         for node in nodes]))
    printing.out("")
    printing.out(printing.columns(
        ("PROCESS", "STATE", "PID", "RESTARTS"),
        [("room", "running", value["room_pid"], 0)]
        + [(item["name"], "running" if item["running"] else "HELD DOWN" if item["held_down"] else "STOPPED",
            item["pid"], item["restarts"])
           for item in processes]))
    printing.out("")


@app.command()
def kubeconfig(
    name: str = printing.Name,
    path: bool = typer.Option(False, "--path", help="Print where the file is instead of its content."),
) -> None:
    """Print the kubeconfig of a cluster, or its path:  export KUBECONFIG=$(testbed kubeconfig --path)"""
    file = load_instance(instance_directory(name)).kubeconfig
    try:
        printing.out(str(file) if path else file.read_text().rstrip("\n"))
    except OSError as error:
        raise EnvironmentProblem(f"{file} cannot be read: {error}") from error


