"""What a container's environment and command are: every source, in upstream's order, with ``$(VAR)`` expanded.

A missing ConfigMap, Secret or key that is not optional is a ``MissingConfig``: the container cannot be made yet.
Source: kubernetes pkg/kubelet/kubelet_pods.go makeEnvironmentVariables, pkg/kubelet/envvars/envvars.go,
third_party/forked/golang/expansion/expand.go.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from testbed.api.core_v1 import (
    ConfigMap,
    Container,
    EnvVarSource,
    ObjectFieldSelector,
    Pod,
    ResourceFieldSelector,
    Secret,
    Service,
)
from testbed.api.meta import quantity

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class MissingConfig(Exception):
    """Names what is missing, never a value. Reason ``CreateContainerConfigError``."""


@dataclass(frozen=True)
class Sources:
    """What environments and volumes are made of. ``config_map`` and ``secret``: by name in the pod's namespace, None if
    absent. ``token``: by audience and lifetime, empty if there is none."""

    config_map: Callable[[str], ConfigMap | None]
    secret: Callable[[str], Secret | None]
    services: tuple[Service, ...] = ()
    host_ip: str = ""
    pod_ip: str = ""
    node_name: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    token: Callable[[str, int], str] = lambda audience, lifetime_s: ""


def environment(pod: Pod, container: Container, sources: Sources) -> tuple[tuple[str, str], ...]:
    """Later wins: Services, then envFrom, then env.

    Raises: MissingConfig.
    """
    links = service_variables(sources.services, pod.metadata.namespace, links=pod.spec.enable_service_links)
    result: dict[str, str] = {}
    for source in container.env_from:
        result |= _from_source(source.prefix, source.config_map_ref, source.secret_ref, sources)
    for variable in container.env:
        if variable.value_from is None:
            value: str | None = expand(variable.value, {**links, **result})
        else:
            value = _value(pod, container, variable.value_from, sources)
        if value is not None:
            result[variable.name] = value
    return tuple({**links, **result}.items())


def command_and_args(
    container: Container, env: Iterable[tuple[str, str]]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """None keeps what the image says. A command without args drops the image's arguments."""
    known = dict(env)
    command = tuple(expand(item, known) for item in container.command)
    args = tuple(expand(item, known) for item in container.args)
    return (command or None), (args if args else (() if command else None))


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value, ``$$`` by ``$``; an unknown reference stays as it is."""

    def one(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return known.get(match.group(2), match.group(0))

    return _REFERENCE.sub(one, text)


def needs_config(container: Container) -> bool:
    """Whether its environment comes from ConfigMaps or Secrets."""
    return bool(container.env_from) or any(
        item.value_from is not None
        and (item.value_from.config_map_key_ref is not None or item.value_from.secret_key_ref is not None)
        for item in container.env
    )


def service_variables(services: Iterable[Service], namespace: str, *, links: bool) -> dict[str, str]:
    """``{NAME}_SERVICE_HOST`` and so on, of the pod's namespace and the master Service."""
    result: dict[str, str] = {}
    for service in services:
        meta, spec = service.metadata, service.spec
        master = (meta.namespace, meta.name) == ("default", "kubernetes")
        seen = master or (links and meta.namespace == namespace)
        if not seen or not spec.cluster_ip or spec.headless or not spec.ports:
            continue
        name = meta.name.upper().replace("-", "_")
        result[f"{name}_SERVICE_HOST"] = spec.cluster_ip
        result[f"{name}_SERVICE_PORT"] = str(spec.ports[0].port)
        for port in spec.ports:
            if port.name:
                result[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        for index, port in enumerate(spec.ports):
            protocol = port.protocol.lower()
            url = f"{protocol}://{spec.cluster_ip}:{port.port}"
            stem = f"{name}_PORT_{port.port}_{port.protocol.upper()}"
            if index == 0:
                result[f"{name}_PORT"] = url
            result |= {stem: url, f"{stem}_PROTO": protocol}
            result |= {f"{stem}_PORT": str(port.port), f"{stem}_ADDR": spec.cluster_ip}
    return result


def field_value(pod: Pod, selector: ObjectFieldSelector, sources: Sources) -> str:
    """A downward API field (kubernetes: pkg/fieldpath/fieldpath.go).

    Raises: MissingConfig for a path that is not supported.
    """
    path, meta = selector.field_path, pod.metadata
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return (meta.labels if subscript.group(1) == "labels" else meta.annotations).get(subscript.group(2), "")
    simple = {
        "metadata.name": meta.name, "metadata.namespace": meta.namespace, "metadata.uid": meta.uid,
        "spec.nodeName": sources.node_name, "spec.serviceAccountName": pod.spec.service_account_name or "default",
        "status.podIP": sources.pod_ip, "status.podIPs": sources.pod_ip, "status.hostIP": sources.host_ip,
        "status.hostIPs": sources.host_ip,
        "metadata.labels": _lines(meta.labels), "metadata.annotations": _lines(meta.annotations),
    }
    if path not in simple:
        raise MissingConfig(f"unsupported fieldPath: {path}")
    return simple[path]


def resource_value(pod: Pod, own: Container | None, selector: ResourceFieldSelector, sources: Sources) -> str:
    """``limits.cpu`` and the like, divided and rounded up; a limit that is not set is the node's allocatable.

    Raises: MissingConfig.
    """
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    container = next((item for item in containers if item.name == selector.container_name), own)
    kind, _, name = selector.resource.partition(".")
    if container is None or kind not in ("limits", "requests") or not name:
        raise MissingConfig(f"unsupported resource: {selector.resource}")
    table = container.resources.limits if kind == "limits" else container.resources.requests
    fallback = sources.allocatable.get(name, "0") if kind == "limits" else container.resources.limits.get(name, 0)
    divisor = quantity(selector.divisor) or Decimal(1)
    return str(math.ceil(quantity(table.get(name, fallback)) / divisor))


def secret_value(data: str) -> bytes:
    """One value of a Secret's ``data``. Raises: MissingConfig when it is not base64."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise MissingConfig("a secret value is not base64") from None


def _lines(items: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted(items.items()))


def _from_source(prefix: str, config_map: object, secret: object, sources: Sources) -> dict[str, str]:
    result: dict[str, str] = {}
    name, optional = getattr(config_map, "name", ""), getattr(config_map, "optional", False)
    if config_map is not None:
        found = sources.config_map(name)
        if found is None and not optional:
            raise MissingConfig(f'configmap "{name}" not found')
        result |= {prefix + key: value for key, value in (found.data if found else {}).items()}
    name, optional = getattr(secret, "name", ""), getattr(secret, "optional", False)
    if secret is not None:
        kept = sources.secret(name)
        if kept is None and not optional:
            raise MissingConfig(f'secret "{name}" not found')
        values = kept.data if kept else {}
        result |= {prefix + key: _text(secret_value(value)) for key, value in values.items()}
    return result


def _value(pod: Pod, container: Container, source: EnvVarSource, sources: Sources) -> str | None:
    if source.field_ref is not None:
        return field_value(pod, source.field_ref, sources)
    if source.resource_field_ref is not None:
        return resource_value(pod, container, source.resource_field_ref, sources)
    if source.config_map_key_ref is not None:
        key = source.config_map_key_ref
        found = sources.config_map(key.name)
        if found is None and not key.optional:
            raise MissingConfig(f'configmap "{key.name}" not found')
        if found is not None and key.key in found.data:
            return found.data[key.key]
        if not key.optional:
            raise MissingConfig(f"couldn't find key {key.key} in ConfigMap {pod.metadata.namespace}/{key.name}")
    if source.secret_key_ref is not None:
        key = source.secret_key_ref
        kept = sources.secret(key.name)
        if kept is None and not key.optional:
            raise MissingConfig(f'secret "{key.name}" not found')
        if kept is not None and key.key in kept.data:
            return _text(secret_value(kept.data[key.key]))
        if not key.optional:
            raise MissingConfig(f"couldn't find key {key.key} in Secret {pod.metadata.namespace}/{key.name}")
    return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
