"""Which volumes of a pod are valid.

Source: kubernetes pkg/apis/core/validation/validation.go (ValidateVolumes, validateProjectedVolumeSource).
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import check_own_name
from testbed.server.tokens import check_lifetime
from testbed.server.validation_containers import check_quantity, check_relative

Json = dict[str, Any]
_MOST_MODE = 0o777


def check_volumes(volumes: Any, path: str, causes: Causes) -> set[str]:
    """Their names."""
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        check_own_name(volume.get("name", ""), names, f"{here}.name", causes)
        for extra in [key for key in volume if key != "name"][1:]:
            causes.forbidden(f"{here}.{extra}", "may not specify more than 1 volume type")
        _check_source(volume, here, causes)
    return names


def _check_source(volume: Json, here: str, causes: Causes) -> None:
    if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("claimName"):
        causes.required(f"{here}.persistentVolumeClaim.claimName")
    if "configMap" in volume and not volume["configMap"].get("name"):
        causes.required(f"{here}.configMap.name")
    if "secret" in volume and not volume["secret"].get("secretName"):
        causes.required(f"{here}.secret.secretName")
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if (held := volume.get(source)) is not None:
            _check_mode(held.get("defaultMode"), f"{here}.{source}.defaultMode", causes)
            _check_items(held.get("items") or (), f"{here}.{source}.items", causes, keyed=source != "downwardAPI")
    if "projected" in volume:
        _check_projected(volume["projected"], f"{here}.projected", causes)
    check_quantity((volume.get("emptyDir") or {}).get("sizeLimit"), f"{here}.emptyDir.sizeLimit", causes)
    medium = (volume.get("emptyDir") or {}).get("medium")
    if medium not in (None, "", "Memory"):
        causes.not_supported(f"{here}.emptyDir.medium", medium, ("", "Memory"))


def _check_items(items: Any, path: str, causes: Causes, *, keyed: bool) -> None:
    """``keyed``: they name a key of a ConfigMap or Secret."""
    for number, item in enumerate(items):
        if keyed and not item.get("key"):
            causes.required(f"{path}[{number}].key")
        check_relative(item.get("path", ""), f"{path}[{number}].path", causes)
        _check_mode(item.get("mode"), f"{path}[{number}].mode", causes)


def _check_mode(mode: Any, path: str, causes: Causes) -> None:
    if isinstance(mode, int) and not 0 <= mode <= _MOST_MODE:
        causes.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _check_projected(projected: Json, path: str, causes: Causes) -> None:
    paths: set[str] = set()
    for index, source in enumerate(projected.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        for extra in list(source)[1:]:
            causes.forbidden(f"{here}.{extra}", "may not specify more than 1 volume type per source")
        for kind in ("configMap", "secret"):
            if kind in source and not source[kind].get("name"):
                causes.required(f"{here}.{kind}.name")
        files = [(f"{here}.{kind}.items[{number}].path", item.get("path", ""))
                 for kind in ("configMap", "secret", "downwardAPI")
                 for number, item in enumerate((source.get(kind) or {}).get("items") or ())]
        for kind in ("configMap", "secret", "downwardAPI"):
            _check_items((source.get(kind) or {}).get("items") or (), f"{here}.{kind}.items", causes,
                         keyed=kind != "downwardAPI")
        if (token := source.get("serviceAccountToken")) is not None:
            _check_token(token, f"{here}.serviceAccountToken", causes)
            files.append((f"{here}.serviceAccountToken.path", token.get("path", "")))
        for place, file in files:
            if file and file in paths:
                causes.invalid(place, file, "conflicting duplicate paths")
            paths.add(file)


def _check_token(token: Json, path: str, causes: Causes) -> None:
    seconds = token.get("expirationSeconds")
    if isinstance(seconds, int):
        check_lifetime(seconds, f"{path}.expirationSeconds", causes)
    check_relative(token.get("path", ""), f"{path}.path", causes)
