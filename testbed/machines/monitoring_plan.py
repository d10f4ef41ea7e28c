"""Which containers watch a cluster: their images, ports, files and data. Pure.

Prometheus and Alertmanager must reach the API, which listens on 127.0.0.1, and nobody but this machine may reach them.
So they share the machine's network and listen on 127.0.0.1 alone. They run as the owner of the cluster's state, who
alone may read the token; it reaches them as that file, never as a word of a command. What they record lies in the
cluster's state directory and outlives it (``Site``). ``monitoring.py`` does what is decided here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem
from testbed.machines import monitoring_config as config
from testbed.machines.monitoring_runbooks import page_at
from testbed.runtime.containers import ContainerSpec, Mount

PROMETHEUS, ALERTMANAGER, GRAFANA = "prometheus", "alertmanager", "grafana"
HOST = "127.0.0.1"
_FILES, _DATA, _CREDENTIALS, _BOARDS = "/etc/testbed", "/data", "/run/testbed", "/dashboards"
_TMP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """One program of the stack.

    Attributes:
        image: the public one, pinned.
        own_image: what is built from Debian's package where the public one cannot be had; "" where Debian has none.
        port: on which it is usually found.
        flag: of ``testbed monitor up``, that chooses another.
        ready: the path that answers 200 when it can be used.
    """

    name: str
    title: str
    image: str
    own_image: str
    port: int
    flag: str
    ready: str


PARTS = (
    Part(PROMETHEUS, "Prometheus", "prom/prometheus:v3.5.0", "testbed-prometheus:1", 9090, "--port", "/-/ready"),
    Part(ALERTMANAGER, "Alertmanager", "prom/alertmanager:v0.28.1", "testbed-alertmanager:1", 9093,
         "--alertmanager-port", "/-/ready"),
    Part(GRAFANA, "Grafana", "grafana/grafana:12.1.0", "", 3000, "--grafana-port", "/api/health"),
)


def parts_for(instance: Instance | None) -> tuple[Part, ...]:
    """Of a cluster that is gone (None) nothing new will be alerted of."""
    return PARTS if instance is not None else tuple(part for part in PARTS if part.name != ALERTMANAGER)


@dataclass(frozen=True)
class Site:
    """Where the monitoring of one cluster lies: ``<state of the cluster>/monitoring``, which `testbed down` keeps.

    ``owner``: user and group of the state directory.
    """

    name: str
    directory: Path
    owner: tuple[int, int]

    @property
    def root(self) -> Path:
        return self.directory / "monitoring"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def identity(self) -> Path:
        """A file: the id that the containers of the last `up` carry."""
        return self.root / "id"

    def data(self, part: str) -> Path:
        return self.root / part


@dataclass(frozen=True)
class Wishes:
    """What a person asks for.

    Attributes:
        ports: part to port on 127.0.0.1; only what was asked for.
        retention_time, retention_size: how long, and how much at most, is kept, in Prometheus' own words.
        rules: rule files of his own, beside ours.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    retention_time: str = "15d"
    retention_size: str = "2GB"
    rules: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Order:
    """What is to be.

    Attributes:
        instance: the cluster; None when it is gone, and what it left is only shown.
        images: part to image; parts without one are left out.
    """

    site: Site
    instance: Instance | None
    images: Mapping[str, str]
    wishes: Wishes = field(default_factory=Wishes)

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for part in parts_for(self.instance) if part.name in self.images)


@dataclass(frozen=True)
class Ports:
    """``chosen``: part to port. ``notes``: what to tell about those that are not the usual ones."""

    chosen: Mapping[str, int]
    notes: tuple[str, ...] = ()


def settle_ports(
    parts: Sequence[Part], asked: Mapping[str, int], kept: Mapping[str, int], is_free: Callable[[int], bool],
    another: Callable[[set[int]], int],
) -> Ports:
    """A port for each part: the one asked for, else the one that it has, else the usual one, else another.

    Args:
        asked: part to port, of those that a person chose; one that is taken is his to change, so that is refused.
        kept: part to port, of those that run.
        another: a free port that is not among those.

    Raises: EnvironmentProblem, with a port that is free.
    """
    chosen: dict[str, int] = {}
    notes = []
    reserved = set(asked.values())
    for part in parts:
        wanted = asked.get(part.name, 0)
        port = wanted or kept.get(part.name) or part.port
        others = {*chosen.values(), *(reserved - {wanted})}
        if port in others or not (kept.get(part.name) == port or is_free(port)):
            free = another({*chosen.values(), *reserved})
            if wanted:
                raise EnvironmentProblem(f"port {wanted} is taken, {part.title} cannot listen there",
                                         hint=f"this one is free: {part.flag} {free}")
            notes.append(f"port {port} is taken: {part.title} gets {free}")
            port = free
        chosen[part.name] = port
    return Ports(chosen, tuple(notes))


def address(ports: Mapping[str, int], part: str) -> str:
    """Host and port; "" for a part that is not there."""
    return f"{HOST}:{ports[part]}" if part in ports else ""


def access_to(instance: Instance, token_file: str, ca_file: str) -> config.Access:
    """Both files as whoever reads the configuration sees them."""
    return config.Access(f"{HOST}:{instance.api_port}", instance.name, token_file, ca_file)


def runbooks(instance: Instance | None) -> str:
    """Where a browser on this machine finds them; "" when the cluster is gone, and its page with it."""
    return page_at(f"{HOST}:{instance.api_port}") if instance else ""


def rule_path(name: str) -> str:
    """Of a rule file, as Prometheus sees it."""
    return f"{_FILES}/rules/{name}"


def files(
    instance: Instance | None, ports: Mapping[str, int], rules: Mapping[str, str], boards: Mapping[str, str]
) -> dict[str, str]:
    """What lies in ``Site.files``, name to text. ``instance=None``: the cluster is gone, what it left is only shown.
    ``rules``, ``boards``: rule files and dashboards, name to text."""
    clusters = [access_to(instance, f"{_CREDENTIALS}/token", f"{_CREDENTIALS}/ca.crt")] if instance else []
    found = {"prometheus.yml": config.text(config.prometheus_config(
        clusters, [rule_path(name) for name in rules], address(ports, ALERTMANAGER)))}
    found |= {f"rules/{name}": text for name, text in rules.items()}
    if ALERTMANAGER in ports:
        found["alertmanager.yml"] = config.text(config.alertmanager_config(clusters))
    if GRAFANA in ports:
        found |= {"grafana/datasources/testbed.yml": config.text(config.data_source(address(ports, PROMETHEUS))),
                  "grafana/dashboards/testbed.yml": config.text(config.dashboard_provider(_BOARDS))}
        found |= {f"boards/{name}": text for name, text in boards.items()}
    return found


def specs(order: Order, identity: str, ports: Mapping[str, int], written: Mapping[str, str]) -> list[ContainerSpec]:
    """One container for each part, in the order in which they start.

    Args:
        identity: the id that they carry.
        written: what ``files`` said; a container whose files have changed is another one (its label ``SPEC_HASH``).
    """
    wishes = order.wishes
    arguments = {
        PROMETHEUS: (
            f"--config.file={_FILES}/prometheus.yml", f"--storage.tsdb.path={_DATA}",
            f"--storage.tsdb.retention.time={wishes.retention_time}",
            f"--storage.tsdb.retention.size={wishes.retention_size}",
            f"--web.listen-address={address(ports, PROMETHEUS)}"),
        ALERTMANAGER: (
            f"--config.file={_FILES}/alertmanager.yml", f"--storage.path={_DATA}",
            f"--web.listen-address={address(ports, ALERTMANAGER)}",
            "--cluster.listen-address="),  # it has no peers, and by default listens for them on every address
        GRAFANA: None,
    }
    return [_with_hash(_spec(order, identity, part, address(ports, part), arguments[part]), _read_by(part, written))
            for part in (ALERTMANAGER, PROMETHEUS, GRAFANA) if part in ports]


def _spec(order: Order, identity: str, part: str, where: str, arguments: tuple[str, ...] | None) -> ContainerSpec:
    site, instance = order.site, order.instance
    carried = {labels.INSTANCE: identity, labels.ROLE: labels.ROLE_MONITORING, labels.MONITORING: part,
               labels.ADDRESS: where}
    mounts = [Mount("/tmp", tmpfs_size_bytes=_TMP_BYTES)]
    if instance is not None:
        carried[labels.INSTANCE_NAME] = instance.name
    if part == GRAFANA:
        mounts += [Mount("/etc/grafana/provisioning", str(site.files / "grafana"), read_only=True),
                   Mount(_BOARDS, str(site.files / "boards"), read_only=True),
                   Mount("/var/lib/grafana", str(site.data(part)))]
    else:
        mounts += [Mount(_FILES, str(site.files), read_only=True), Mount(_DATA, str(site.data(part)))]
        if instance is not None:
            mounts += [Mount(f"{_CREDENTIALS}/token", str(instance.token_file), read_only=True),
                       Mount(f"{_CREDENTIALS}/ca.crt", str(instance.ca_certificate), read_only=True)]
    return ContainerSpec(
        name=f"testbed-{site.name}-{part}", image=order.images[part], labels=carried, args=arguments,
        env=_grafana_environment(where) if part == GRAFANA else (), network="host",
        user="{}:{}".format(*site.owner), mounts=tuple(mounts), cap_drop=("ALL",), read_only_root=True,
    )


def _grafana_environment(where: str) -> tuple[tuple[str, str], ...]:
    """Whoever is on this machine may look; nobody logs in, so there is no password to know."""
    host, _, port = where.partition(":")
    return (
        ("GF_SERVER_HTTP_ADDR", host), ("GF_SERVER_HTTP_PORT", port),
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"), ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"), ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", f"{_BOARDS}/overview.json"),
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"), ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"), ("GF_LOG_MODE", "console"),
        ("GF_PLUGINS_PREINSTALL_DISABLED", "true"),
    )


def _read_by(part: str, written: Mapping[str, str]) -> dict[str, str]:
    beginnings = {PROMETHEUS: ("prometheus.yml", "rules/"), ALERTMANAGER: ("alertmanager.yml",),
                  GRAFANA: ("grafana/", "boards/")}[part]
    return {name: text for name, text in written.items() if name.startswith(beginnings)}


def _with_hash(spec: ContainerSpec, read: Mapping[str, str]) -> ContainerSpec:
    """Its label says from what it was made, so that the next `up` knows whether that is still so."""
    digest = hashlib.sha256(json.dumps([repr(spec), sorted(read.items())]).encode()).hexdigest()[:16]
    return replace(spec, labels={**spec.labels, labels.SPEC_HASH: digest})
