"""Between our values and the Docker Engine API's JSON, both ways. Pure.

Decides what of a ContainerSpec reaches an engine: only the fields named here (an allow-list), never a HostConfig from
outside. The engine's restart policy is "no" but for a SupervisedSpec, and its logs are always bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from testbed.runtime.assets import ImageState, NetworkState, VolumeState
from testbed.runtime.cgroup_names import engine_parent
from testbed.runtime.containers import ContainerSpec, ContainerState, HealthLook, HealthState, Limits, Mount
from testbed.runtime.protocol import EngineEvent
from testbed.runtime.supervision import HealthCheck, SupervisedSpec
from testbed.runtime.usage import ContainerUsage

Json = dict[str, Any]

_LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
_CPU_PERIOD_US = 100_000


def create_body(spec: ContainerSpec, driver: str) -> Json:
    """The body of ``POST /containers/create``. ``driver``: the engine's cgroup driver."""
    body: Json = {
        "Image": spec.image, "Labels": dict(spec.labels), "Env": [f"{name}={value}" for name, value in spec.env],
        "Hostname": spec.hostname, "User": spec.user, "WorkingDir": spec.working_dir, "Tty": spec.tty,
        "OpenStdin": spec.stdin, "StdinOnce": False, "HostConfig": host_config(spec, driver),
    }
    if spec.command is not None:
        body["Entrypoint"] = list(spec.command)
        body["Cmd"] = list(spec.args or ())
    elif spec.args is not None:
        body["Cmd"] = list(spec.args)
    if spec.stop_signal:
        body["StopSignal"] = spec.stop_signal
    if spec.ports:
        body["ExposedPorts"] = {f"{port.container_port}/{port.protocol}": {} for port in spec.ports}
    endpoint: Json = {"IPAMConfig": {"IPv4Address": spec.address}} if spec.address else {}
    if isinstance(spec, SupervisedSpec):
        body["HostConfig"]["RestartPolicy"] = {"Name": spec.restart}
        body["StopTimeout"] = spec.stop_grace_s
        body["Healthcheck"] = _health_check(spec.health) if spec.health else {"Test": ["NONE"]}
        body["Volumes"] = {path: {} for path in spec.anonymous_volumes}
        if spec.aliases:
            endpoint["Aliases"] = list(spec.aliases)
    if endpoint:
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.network: endpoint}}
    return body


def _health_check(check: HealthCheck) -> Json:
    return {
        "Test": ["CMD", *check.argv], "Interval": int(check.interval_s * 1e9), "Timeout": int(check.timeout_s * 1e9),
        "Retries": check.retries, "StartPeriod": int(check.start_period_s * 1e9),
    }


def host_config(spec: ContainerSpec, driver: str) -> Json:
    config: Json = {
        "NetworkMode": spec.network, "RestartPolicy": {"Name": "no"}, "LogConfig": _LOGS,
        "CgroupParent": engine_parent(spec.cgroup_parent, driver), "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop), "SecurityOpt": list(spec.security_opt), "Sysctls": dict(spec.sysctls),
        "ReadonlyRootfs": spec.read_only_root, "Init": spec.init, "PidMode": spec.pid_mode,
        "GroupAdd": list(spec.groups), "OomScoreAdj": spec.oom_score_adj, "Dns": list(spec.dns_servers),
        "DnsSearch": list(spec.dns_search), "DnsOptions": list(spec.dns_options),
        "ExtraHosts": list(spec.extra_hosts), "Mounts": [_bind(mount) for mount in spec.mounts if mount.source],
        "Tmpfs": {mount.target: _tmpfs_options(mount) for mount in spec.mounts if not mount.source},
        "PortBindings": _port_bindings(spec),
    }
    if spec.own_cgroups:
        config["CgroupnsMode"] = "private"
    if spec.ipc_mode:
        config["IpcMode"] = spec.ipc_mode
    if spec.privileged:
        config["Privileged"] = True
    if spec.devices:
        config["Devices"] = [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
                             for path in spec.devices]
    config.update(_limits(spec.limits))
    return config


def _bind(mount: Mount) -> Json:
    if not mount.source.startswith("/"):
        # NoCopy: as under Kubernetes, what the image has at that place does not get into the volume.
        return {"Type": "volume", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only,
                "VolumeOptions": {"NoCopy": True}}
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _tmpfs_options(mount: Mount) -> str:
    options = ["ro" if mount.read_only else "rw", "nosuid", "nodev", "mode=1777"]
    if mount.tmpfs_size_bytes:
        options.append(f"size={mount.tmpfs_size_bytes}")
    return ",".join(options)


def _port_bindings(spec: ContainerSpec) -> Json:
    bindings: dict[str, list[Json]] = {}
    for port in spec.ports:
        bound = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(bound)
    return bindings


def _limits(limits: Limits) -> Json:
    values: Json = {}
    if limits.cpu_shares:
        values["CpuShares"] = limits.cpu_shares
    if limits.cpu_quota_us:
        values |= {"CpuPeriod": _CPU_PERIOD_US, "CpuQuota": limits.cpu_quota_us}
    if limits.memory_bytes:
        # The same for both: without swap of its own a container meets its limit, as under Kubernetes.
        values |= {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes}
    if limits.pids:
        values["PidsLimit"] = limits.pids
    return values


def update_body(limits: Limits) -> Json:
    """The body of ``POST /containers/<id>/update``. The engine cannot lift a memory limit, so 0 leaves it."""
    values = _limits(limits)
    values.setdefault("CpuQuota", -1)
    values.setdefault("PidsLimit", -1)
    return values


# --- answers


def moment(text: str | None) -> datetime | None:
    """The engine's time; its zero (year 1) is None."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)


def state_of(answer: Mapping[str, Any]) -> ContainerState:
    """From ``GET /containers/<id>/json``."""
    state, config = answer["State"], answer["Config"]
    networks = (answer.get("NetworkSettings") or {}).get("Networks") or {}
    return ContainerState(
        id=answer["Id"], name=answer["Name"].removeprefix("/"), labels=config.get("Labels") or {},
        image=config.get("Image", ""), image_id=answer.get("Image", ""), status=state["Status"],
        pid=int(state.get("Pid") or 0), created_at=moment(answer.get("Created")),
        started_at=moment(state.get("StartedAt")), finished_at=moment(state.get("FinishedAt")),
        exit_code=int(state.get("ExitCode") or 0), oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        address=next((net["IPAddress"] for net in networks.values() if net.get("IPAddress")), ""),
        health=_health_of(state.get("Health")),
    )


def _health_of(answer: Mapping[str, Any] | None) -> HealthState | None:
    if not answer or answer.get("Status") in (None, "", "none"):
        return None
    looks = (HealthLook(moment(item.get("End")), int(item.get("ExitCode") or 0), str(item.get("Output") or ""))
             for item in answer.get("Log") or ())
    return HealthState(str(answer["Status"]), tuple(looks))


def summary_state(summary: Mapping[str, Any]) -> ContainerState:
    """From one line of ``GET /containers/json``: no pid, no exit code. Only for a container that cannot be
    inspected."""
    return ContainerState(
        id=summary["Id"], name=summary["Names"][0].removeprefix("/") if summary.get("Names") else "",
        labels=summary.get("Labels") or {}, image=summary.get("Image", ""), image_id=summary.get("ImageID", ""),
        status=summary["State"], error="the engine does not answer for this container",
    )


def image_of(answer: Mapping[str, Any]) -> ImageState:
    """From ``GET /images/<name>/json``."""
    config = answer.get("Config") or {}
    return ImageState(
        id=answer["Id"], tags=tuple(answer.get("RepoTags") or ()), size_bytes=int(answer.get("Size") or 0),
        labels=config.get("Labels") or {}, stop_signal=config.get("StopSignal") or "", user=config.get("User") or "",
    )


def image_summary(answer: Mapping[str, Any]) -> ImageState:
    """From one line of ``GET /images/json``."""
    return ImageState(
        id=answer["Id"], tags=tuple(answer.get("RepoTags") or ()), size_bytes=int(answer.get("Size") or 0),
        labels=answer.get("Labels") or {},
    )


def network_of(answer: Mapping[str, Any]) -> NetworkState:
    ranges = (answer.get("IPAM") or {}).get("Config") or []
    return NetworkState(
        id=answer["Id"], name=answer["Name"], subnets=tuple(item["Subnet"] for item in ranges if item.get("Subnet")),
        labels=answer.get("Labels") or {},
    )


def volume_of(answer: Mapping[str, Any]) -> VolumeState:
    return VolumeState(
        name=answer["Name"], labels=answer.get("Labels") or {}, mountpoint=answer.get("Mountpoint") or "",
    )


def event_of(answer: Mapping[str, Any]) -> EngineEvent | None:
    """None for what is not an event of a container (an error line, a network's event)."""
    actor = answer.get("Actor") or {}
    if answer.get("Type") != "container" or not actor.get("ID"):
        return None
    attributes = actor.get("Attributes") or {}
    code = attributes.get("exitCode")
    return EngineEvent(
        action=str(answer.get("Action", "")), container_id=actor["ID"], labels=attributes,
        time_ns=int(answer.get("timeNano") or 0), exit_code=int(code) if code is not None else None,
    )


def usage_of(answer: Mapping[str, Any]) -> ContainerUsage:
    """Working set as cAdvisor counts it: usage without inactive page cache (google/cadvisor: handler.go)."""
    memory = answer.get("memory_stats") or {}
    details = memory.get("stats") or {}
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    cpu = (answer.get("cpu_stats") or {}).get("cpu_usage") or {}
    return ContainerUsage(
        cpu_seconds=int(cpu.get("total_usage") or 0) / 1e9,
        memory_bytes=max(0, int(memory.get("usage") or 0) - int(inactive)),
    )
