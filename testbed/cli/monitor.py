"""``testbed monitor``: Prometheus, Alertmanager and Grafana beside a cluster, or what your own are to be told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.cli.engine import on_engine
from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.machines.monitoring import Seen
    from testbed.machines.monitoring_plan import Site
    from testbed.machines.monitoring_seen import ScrapeTarget

_DURATION = r"([0-9]+(y|w|d|h|m|s|ms))+"  # in Prometheus' words: prometheus.io, configuration
_SIZE = r"[0-9]+(B|[KMGTPE]B)"

app = typer.Typer()
monitor = typer.Typer(no_args_is_help=True, help="Prometheus, Alertmanager and Grafana beside a cluster.")
app.add_typer(monitor, name="monitor")


@monitor.command("up")
def up(
    name: str = printing.Name,
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Of Prometheus; default 9090, or a free one."),
    alertmanager_port: int = typer.Option(0, "--alertmanager-port", min=0, max=65535, help="Default 9093, or free."),
    grafana_port: int = typer.Option(0, "--grafana-port", min=0, max=65535, help="Default 3000, or free."),
    rules: list[Path] = typer.Option([], "--rules", metavar="FILE", help="Rules of your own, beside ours."),
    retention: str = typer.Option("15d", "--retention", help="How long series are kept."),
    retention_size: str = typer.Option("2GB", "--retention-size", help="How much of them at most."),
) -> None:
    """Start them, join them to the cluster, print their addresses. Repeat it for other settings.

    All listen on 127.0.0.1 only. Of a cluster that was taken down, what it left is shown.
    """
    from testbed.machines import monitoring, monitoring_plan
    from testbed.machines.monitoring_images import have_images
    from testbed.machines.monitoring_site import site_of
    from testbed.machines.narration import narrator
    from testbed.runtime.images import Images

    asked = {monitoring_plan.PROMETHEUS: port, monitoring_plan.ALERTMANAGER: alertmanager_port,
             monitoring_plan.GRAFANA: grafana_port}
    wishes = monitoring_plan.Wishes({part: number for part, number in asked.items() if number},
                                    _amount("--retention", retention, _DURATION, "15d"),
                                    _amount("--retention-size", retention_size, _SIZE, "2GB"), tuple(rules))
    site, instance = site_of(name)
    with Images(instance.engine_url if instance else "") as source:
        had = have_images(monitoring_plan.parts_for(instance), source, narrator())
    for line in had.left_out:
        printing.say(line)
    order = monitoring_plan.Order(site, instance, had.images, wishes)
    seen = on_engine(instance, lambda engine: monitoring.start(engine, order, monitoring.http_ask, printing.say))
    _tell_up(name, seen, gone=instance is None)


def _tell_up(name: str, seen: Seen, *, gone: bool) -> None:
    """The addresses are what was asked for; the rest is said beside."""
    if gone:
        printing.say(f"cluster {name!r} is gone: what was recorded of it is shown, nothing new is")
    elif seen.problem:
        printing.say(f"no word of what is scraped: {seen.problem}")
    else:
        down = [target for target in seen.targets if not target.up]
        printing.say(f"{len(seen.targets) - len(down)} of {len(seen.targets)} targets are up")
        for target in down:
            printing.say(f"  {_what(target)} is {target.health}: {target.error or 'not scraped yet'}")
    printing.out(printing.columns(("PART", "ADDRESS"), [(each.part, f"http://{each.address}") for each in seen.parts],
                                  headers=False))


@monitor.command("down")
def down(
    name: str = printing.Name,
    keep_data: bool = typer.Option(False, "--keep-data", help="Keep what was recorded, for the next `monitor up`."),
) -> None:
    """Remove them, and what they recorded."""
    from testbed.machines import monitoring
    from testbed.machines.monitoring_site import site_of

    site, instance = site_of(name)
    removed = on_engine(instance, lambda engine: monitoring.stop(engine, site, keep_data=keep_data))
    what = list(removed) + ([] if keep_data else ["what was recorded"])
    printing.say(f"removed: {', '.join(what)}" + (f"; what was recorded stays in {site.root}" if keep_data else ""))


@monitor.command("status")
def status(name: str = printing.Name, output: str = printing.Output) -> None:
    """What runs and since when, which targets are up, which alerts fire."""
    from testbed.machines import monitoring
    from testbed.machines.monitoring_site import site_of

    site, instance = site_of(name)
    seen = on_engine(instance, lambda engine: monitoring.look(engine, site, monitoring.http_ask))
    if output:
        printing.dump(_document(site, seen), output)
    elif not seen.parts:
        printing.say(f"cluster {name!r} is not monitored\n  start it: testbed monitor up --name {name}")
    else:
        _print_status(seen)


def _print_status(seen: Seen) -> None:
    printing.out(printing.columns(
        ("PART", "STATE", "ADDRESS", "SINCE", "IMAGE"),
        [(each.part, each.state.status, f"http://{each.address}", _moment(each.state.started_at), each.state.image)
         for each in seen.parts]))
    if seen.problem:
        printing.say(seen.problem)
        return
    printing.out("")
    printing.out(printing.columns(
        ("TARGET", "HEALTH", "ERROR"),
        [(_what(target), target.health, target.error) for target in seen.targets]))
    printing.out("")
    if not seen.alerts:
        printing.out("no alerts")
        return
    printing.out(printing.columns(
        ("ALERT", "STATE", "SINCE", "SUMMARY"),
        [(alert.name, alert.state, _moment(alert.since), alert.summary) for alert in seen.alerts]))


def _document(site: Site, seen: Seen) -> dict[str, Any]:
    """``status`` for programs: everything that it prints."""
    return {
        "cluster": site.name, "data": str(site.root), "problem": seen.problem,
        "parts": {each.part: {"state": each.state.status, "url": f"http://{each.address}", "image": each.state.image,
                              "since": _moment(each.state.started_at)} for each in seen.parts},
        "targets": [{"part": target.part, "node": target.node, "health": target.health, "error": target.error,
                     "url": target.url} for target in seen.targets],
        "alerts": [{"name": alert.name, "state": alert.state, "since": _moment(alert.since),
                    "labels": dict(alert.labels), "summary": alert.summary} for alert in seen.alerts],
    }


@monitor.command("config")
def config(
    name: str = printing.Name,
    alertmanager: bool = typer.Option(False, "--alertmanager", help="What your own Alertmanager is to be told."),
    rules: bool = typer.Option(False, "--rules", help="Our rules as one file; alerts link to this cluster's runbooks."),
    compose: bool = typer.Option(False, "--compose", help="The variables that compose/compose.yaml needs."),
) -> None:
    """Print what your own Prometheus is to be told: the scrape job with TLS and token, and where the rules are.

    Paths are this machine's, and the API listens on 127.0.0.1: a Prometheus in a container needs the machine's network
    and these files mounted.
    """
    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.machines import monitoring_config, monitoring_plan, monitoring_runbooks
    from testbed.resources import folder, rule_files

    instance, boards = load_instance(instance_directory(name)), folder("dashboards")
    clusters = [monitoring_plan.access_to(instance, str(instance.token_file), str(instance.ca_certificate))]
    if compose:
        owner = instance.directory.stat().st_uid
        for variable, said in compose_variables(name, instance.api_port, str(instance.directory), owner).items():
            printing.out(f"{variable}={said}")
        return
    if rules:
        shipped = monitoring_runbooks.one_file(path.read_text() for path in rule_files())
        printing.out(monitoring_runbooks.rules_with_links(shipped, monitoring_plan.runbooks(instance)).rstrip())
        return
    more = "" if name == "default" else f" --name {name}"
    if alertmanager:
        value = monitoring_config.own_alertmanager(clusters)
        words = ["For the configuration of your Alertmanager: each alert is told to the cluster, and joins the",
                 "timeline of the disruption that it is about as the mark `alerted`."]
    else:
        value = monitoring_config.own_prometheus(clusters, [str(boards / "prometheus" / "rules" / "*.yml")])
        words = ["For the configuration of your Prometheus. A cluster that is brought up anew has another port: then",
                 "print it again. Alerts of these rules link to nothing yet; to have them lead to this cluster's page:",
                 f"testbed monitor config --rules{more} > testbed-rules.yml, and name that file instead.",
                 f"Dashboards for your Grafana, to import or to provision: {boards / 'grafana'}",
                 f"For your Alertmanager: testbed monitor config --alertmanager{more}"]
    for line in words:
        printing.out(f"# {line}")
    printing.out(printing.yaml_text(value))


def compose_variables(name: str, api_port: int, directory: str, owner: int) -> dict[str, str]:
    """By what compose.yaml knows a cluster. ``directory``: its state; ``owner``: whose it is."""
    return {"TESTBED_NAME": name, "TESTBED_API_PORT": str(api_port), "TESTBED_STATE": directory,
            "TESTBED_UID": str(owner)}


def _what(target: ScrapeTarget) -> str:
    return f"{target.part} {target.node}".strip()


def _moment(at: Any) -> str:
    return at.astimezone().isoformat(timespec="seconds") if at else ""


def _amount(flag: str, text: str, pattern: str, example: str) -> str:
    """Raises: UsageError, before anything is started with it."""
    if not re.fullmatch(pattern, text):
        raise UsageError(f"{flag} {text!r} is no amount that Prometheus knows", hint=f"write it as {flag} {example}")
    return text
