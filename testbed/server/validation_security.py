"""Which security contexts are valid, of pods and of containers.

Whether a node allows what they ask for (privileged, host namespaces) is the node's.
Source: kubernetes pkg/apis/core/validation/validation.go (ValidateSecurityContext, ValidatePodSecurityContext).
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes

Json = dict[str, Any]

_MOST_ID = 2**31 - 1
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")
_CHANGE = ("Always", "OnRootMismatch")


def check_pod_security(context: Json, path: str, causes: Causes) -> None:
    for key in ("fsGroup", "runAsGroup", "runAsUser"):
        _check_id(context.get(key), f"{path}.{key}", causes)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        _check_id(group, f"{path}.supplementalGroups[{index}]", causes)
    change = context.get("fsGroupChangePolicy")
    if change is not None and change not in _CHANGE:
        causes.not_supported(f"{path}.fsGroupChangePolicy", change, _CHANGE)
    _check_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile", causes)


def check_security(context: Json, path: str, causes: Causes) -> None:
    """Of a container."""
    for key in ("runAsGroup", "runAsUser"):
        _check_id(context.get(key), f"{path}.{key}", causes)
    _check_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile", causes)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            causes.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            causes.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                                          "CAP_SYS_ADMIN")


def _check_id(value: int | None, path: str, causes: Causes) -> None:
    if value is not None and not 0 <= value <= _MOST_ID:
        causes.invalid(path, value, f"must be between 0 and {_MOST_ID}, inclusive")


def _check_seccomp(profile: Json | None, path: str, causes: Causes) -> None:
    if profile is None:
        return
    kind = profile.get("type")
    if not kind:
        causes.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in _SECCOMP:
        causes.not_supported(f"{path}.type", kind, _SECCOMP)
    elif kind == "Localhost" and not profile.get("localhostProfile"):
        causes.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost ")
    elif kind != "Localhost" and profile.get("localhostProfile") is not None:
        causes.invalid(f"{path}.localhostProfile", profile["localhostProfile"],
                       "can only be set when seccomp type is Localhost")
