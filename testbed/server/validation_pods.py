"""Which pod specs are valid, and which changes of one are allowed.

Sources: kubernetes pkg/apis/core/validation/validation.go (ValidatePodSpec, ValidatePodUpdate).
Containers are in ``validation_containers``.
"""

from __future__ import annotations

import json
from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import (
    CONFIG_KEY,
    DNS_SUBDOMAIN,
    SUBDOMAIN_RULE,
    check_address,
    check_label_name,
    check_label_value,
    check_labels,
    check_qualified,
)
from testbed.server.validation_containers import check_container
from testbed.server.validation_downward import check_references
from testbed.server.validation_hooks import check_together
from testbed.server.validation_placement import check_gated_update, check_placement
from testbed.server.validation_security import check_pod_security
from testbed.server.validation_volumes import check_volumes

Json = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def check_pod_spec(
    spec: Json, path: str, causes: Causes, *, restart: tuple[str, ...] = _RESTART,
    claims: frozenset[str] = frozenset(),
) -> None:
    """``claims``: volumes that come from a StatefulSet's claim templates."""
    volumes = check_volumes(spec.get("volumes") or (), f"{path}.volumes", causes) | claims
    containers = spec.get("containers") or ()
    if not containers:
        causes.required(f"{path}.containers")
    names: set[str] = set()
    for index, container in enumerate(spec.get("initContainers") or ()):
        check_container(container, f"{path}.initContainers[{index}]", names, volumes, causes, init=True)
    for index, container in enumerate(containers):
        check_container(container, f"{path}.containers[{index}]", names, volumes, causes)
    check_together(spec, path, causes)
    check_references(spec, path, causes)
    check_pod_security(spec.get("securityContext") or {}, f"{path}.securityContext", causes)
    if spec.get("restartPolicy") not in restart:
        causes.not_supported(f"{path}.restartPolicy", spec.get("restartPolicy"), restart)
    if spec.get("dnsPolicy") not in _DNS:
        causes.not_supported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        causes.invalid(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
    check_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector", causes)
    _check_tolerations(spec.get("tolerations") or (), f"{path}.tolerations", causes)
    check_placement(spec, path, causes)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        check_qualified(gate.get("conditionType", ""), f"{path}.readinessGates[{index}].conditionType", causes)
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            check_label_name(spec[key], f"{path}.{key}", causes)
    for key in ("nodeName", "priorityClassName", "serviceAccountName"):
        name = spec.get(key)
        if name and (len(name) > 253 or not DNS_SUBDOMAIN.match(name)):
            causes.invalid(f"{path}.{key}", name, SUBDOMAIN_RULE)
    _check_resolver(spec, path, causes)


def check_new_pod(obj: Json, causes: Causes) -> None:
    """What is judged only when a pod is made."""
    if (obj.get("spec") or {}).get("ephemeralContainers"):
        causes.forbidden("spec.ephemeralContainers", "cannot be set on create")


def _check_resolver(spec: Json, path: str, causes: Causes) -> None:
    """DNS settings and lines of /etc/hosts."""
    config = spec.get("dnsConfig")
    servers = (config or {}).get("nameservers") or ()
    if spec.get("dnsPolicy") == "None":
        if config is None:
            causes.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not servers:
            causes.required(f"{path}.dnsConfig.nameservers",
                            "must provide at least one DNS nameserver when `dnsPolicy` is None")
    for index, server in enumerate(servers):
        check_address(server, f"{path}.dnsConfig.nameservers[{index}]", causes)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{index}]"
        check_address(alias.get("ip", ""), f"{here}.ip", causes)
        for place, name in enumerate(alias.get("hostnames") or ()):
            if len(name) > 253 or not DNS_SUBDOMAIN.match(name):
                causes.invalid(f"{here}.hostnames[{place}]", name, SUBDOMAIN_RULE)


def _check_tolerations(tolerations: Any, path: str, causes: Causes) -> None:
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        operator = toleration.get("operator") or "Equal"
        if toleration.get("key"):
            check_qualified(toleration["key"], f"{here}.key", causes)
        elif operator != "Exists":
            causes.invalid(f"{here}.operator", operator, "operator must be Exists when `key` is empty, which means "
                                                         "\"match all "
                           "values and all keys\"")
        if operator == "Equal":
            check_label_value(toleration.get("value", ""), f"{here}.value", causes)
        elif operator != "Exists":
            causes.not_supported(f"{here}.operator", operator, ("Equal", "Exists"))
        elif toleration.get("value"):
            causes.invalid(f"{here}.value", toleration["value"], "value must be empty when `operator` is 'Exists'")
        if toleration.get("effect") and toleration["effect"] not in _EFFECTS:
            causes.not_supported(f"{here}.effect", toleration["effect"], _EFFECTS)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            causes.invalid(f"{here}.effect", toleration.get("effect", ""), "effect must be 'NoExecute' when "
                           "`tolerationSeconds` is set")


def check_pod_update(old: Json, new: Json, causes: Causes) -> None:
    """Only images, activeDeadlineSeconds, grace -1 → 1 and added tolerations may change."""
    before, after = json.loads(json.dumps(old["spec"])), json.loads(json.dumps(new["spec"]))
    for kind in ("containers", "initContainers"):
        ours, theirs = before.get(kind) or [], after.get(kind) or []
        if len(ours) != len(theirs):
            causes.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
        for mine, other in zip(ours, theirs, strict=True):
            other["image"] = mine.get("image")
    deadline = after.pop("activeDeadlineSeconds", None)
    previous = before.pop("activeDeadlineSeconds", None)
    if previous is not None and (deadline is None or deadline > previous):
        causes.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")
    if before.get("terminationGracePeriodSeconds") == -1 and after.get("terminationGracePeriodSeconds") == 1:
        before["terminationGracePeriodSeconds"] = 1
    kept = before.pop("tolerations", None) or []
    wanted = after.pop("tolerations", None) or []
    if any(item not in wanted for item in kept):
        causes.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    check_gated_update(before, after, causes)
    if before != after:
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        causes.forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,"
                         "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
                         "additions to "
                         "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
                         "was "
                         f"previously negative); changed: {', '.join(changed)}")


def check_config_keys(data: Json, path: str, causes: Causes) -> None:
    """Keys of ConfigMaps and Secrets. Values are never shown: they may be secret."""
    for key in data:
        if len(key) > 253 or not CONFIG_KEY.match(key) or key in (".", "..") or key.startswith("../"):
            causes.invalid(f"{path}[{key}]", key, "a valid config key must consist of alphanumeric characters, '-', "
                                                  "'_' or '.' "
                           "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                           "'[-._a-zA-Z0-9]+')")
