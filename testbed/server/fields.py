"""Field names and types of a written object: unknown fields, wrong types, fields that are kept but not enforced.

Decides nothing about values that have the right type (``validation`` does). Custom resources are judged by their own
schema (``structural``).
Source of the rules: kubernetes apiserver fieldValidation (KEP 2885), apimachinery strict decoding.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from testbed.api.meta import parse_time
from testbed.errors import BadRequest
from testbed.server.schema import SCALARS, Field, Type, fields_of

Json = dict[str, Any]

MAX_DEPTH = 100
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)

# Valid upstream fields that this cluster keeps but does not act on, by type.
UNENFORCED: dict[str, frozenset[str]] = {
    "PodSpec": frozenset({
        "dnsConfig", "ephemeralContainers", "hostAliases", "hostIPC", "hostPID", "hostUsers", "imagePullSecrets", "os",
        "overhead", "resourceClaims", "runtimeClassName",
        "setHostnameAsFQDN", "shareProcessNamespace",
    }),
    "Container": frozenset({"resizePolicy", "stdinOnce", "volumeDevices"}),
    "SecurityContext": frozenset({"appArmorProfile", "procMount", "seLinuxOptions", "seccompProfile",
                                  "windowsOptions"}),
    "PodSecurityContext": frozenset({
        "appArmorProfile", "fsGroupChangePolicy", "seLinuxOptions", "seccompProfile", "sysctls", "windowsOptions",
        "supplementalGroupsPolicy",
    }),
    "VolumeProjection": frozenset({"clusterTrustBundle"}),
    "VolumeMount": frozenset({"mountPropagation", "recursiveReadOnly", "subPathExpr"}),
    "PersistentVolumeClaimSpec": frozenset({"dataSource", "dataSourceRef", "volumeAttributesClassName"}),
    "PersistentVolumeSpec": frozenset({
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flexVolume", "flocker",
        "gcePersistentDisk", "glusterfs", "iscsi", "local", "mountOptions", "nfs", "photonPersistentDisk",
        "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "volumeAttributesClassName", "vsphereVolume",
    }),
    "StorageClass": frozenset({"allowedTopologies", "mountOptions", "parameters"}),
    "JobSpec": frozenset({"successPolicy"}),
    "IngressBackend": frozenset({"resource"}),
    "IngressClassSpec": frozenset({"parameters"}),
    "RollingUpdateStatefulSetStrategy": frozenset({"maxUnavailable"}),
    "ServiceSpec": frozenset({
        "externalIPs", "healthCheckNodePort", "trafficDistribution",
    }),
}
_HARMLESS: tuple[Any, ...] = (None, "", False, 0, [], {}, {"type": "RuntimeDefault"}, "Cluster", "Default")
UNENFORCED_KINDS = {
    "NetworkPolicy": "network policies are stored but not enforced by this cluster",
    **dict.fromkeys(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
                    "roles are stored but not enforced: whoever holds this cluster's token may do everything"),
}
_VOLUME_SOURCES = frozenset({"name", "emptyDir", "configMap", "secret", "downwardAPI", "persistentVolumeClaim",
                             "projected"})


@dataclass
class Findings:
    """Paths with what is wrong there. ``unknown``: (path, suggestion)."""

    unknown: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    unenforced: list[str] = field(default_factory=list)


def examine(kind: str, obj: Any) -> tuple[Json, Findings]:
    """``obj`` without nulls and unknown fields (upstream's decoder drops both), and what was found on the way."""
    findings = Findings()
    cleaned: Json = _walk(obj, Type("struct", name=kind), "", findings, 0)
    return cleaned, findings


def checked(kind: str, body: Any) -> Json:
    """A body that is no stored object (Scale, Binding, DeleteOptions), without what it may not hold.

    Raises: BadRequest when a field has the wrong type.
    """
    cleaned, found = examine(kind, body)
    if found.wrong:
        told = "; ".join(f"{path}: {what}" if path else what for path, what in found.wrong)
        raise BadRequest(f"the body cannot be handled as a {kind}: {told}")
    return cleaned


def _walk(value: Any, kind: Type, path: str, found: Findings, depth: int) -> Any:
    if depth > MAX_DEPTH:
        found.wrong.append((path, "nested too deeply"))
        return None
    if kind.form == "struct":
        return _walk_struct(value, kind, path, found, depth)
    if kind.form == "list":
        if not isinstance(value, list):
            return _mismatch(value, "list", path, found)
        assert kind.item is not None
        return [_walk(item, kind.item, f"{path}[{index}]", found, depth + 1) for index, item in enumerate(value)]
    if kind.form == "map":
        if not isinstance(value, dict):
            return _mismatch(value, "map", path, found)
        assert kind.item is not None
        return {key: _walk(item, kind.item, f"{path}.{key}", found, depth + 1)
                for key, item in value.items() if item is not None}
    if not _is_scalar(value, kind.form):
        return _mismatch(value, SCALARS[kind.form], path, found)
    if kind.form == "t" and not _is_time(value):
        found.wrong.append((path, f'parsing time {json.dumps(value[:100])} as "2006-01-02T15:04:05Z07:00" failed'))
        return None
    return value


def _is_time(text: str) -> bool:
    """RFC 3339, as upstream's decoder takes it."""
    if not _TIME.match(text):
        return False
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def _walk_struct(value: Any, kind: Type, path: str, found: Findings, depth: int) -> Any:
    if not isinstance(value, dict):
        return _mismatch(value, "map", path, found)
    fields = fields_of(kind.name)
    unenforced = UNENFORCED.get(kind.name, frozenset())
    cleaned: Json = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        known: Field | None = fields.get(key)
        if known is None:
            found.unknown.append((here, suggestion(key, fields)))
            continue
        if item is None:
            continue
        if (key in unenforced and item not in _HARMLESS) or (kind.name == "Volume" and key not in _VOLUME_SOURCES):
            found.unenforced.append(here)
        cleaned[key] = _walk(item, known.type, here, found, depth + 1)
    return cleaned


def _is_scalar(value: Any, form: str) -> bool:
    if form == "any":
        return True
    if form in ("s", "t"):
        return isinstance(value, str)
    if form == "b":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if form == "i":
        return isinstance(value, int) and -(2**63) <= value < 2**63
    if form == "n":
        return isinstance(value, int | float)
    if form == "x":
        return isinstance(value, int | str)
    return isinstance(value, int | float | str)  # q


def _mismatch(value: Any, expected: str, path: str, found: Findings) -> None:
    names = {dict: "map", list: "list", str: "string", bool: "boolean", int: "integer", float: "number"}
    got = "null" if value is None else names.get(type(value), type(value).__name__)
    found.wrong.append((path, f"expected {expected}, got {got}"))


def suggestion(name: str, candidates: Any) -> str:
    """The known name that ``name`` was probably meant to be, or ``""``."""
    from difflib import get_close_matches

    lowered = {candidate.lower(): candidate for candidate in candidates}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.7)
    return lowered[close[0]] if close else ""
