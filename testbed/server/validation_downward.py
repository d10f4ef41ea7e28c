"""Which of a pod's own fields and resources may be named, in environments and in files.

Sources: kubernetes pkg/apis/core/validation/validation.go (validateObjectFieldSelector,
validateContainerResourceFieldSelector), pkg/apis/core/pods/helpers.go (ConvertDownwardAPIFieldLabel).
"""

from __future__ import annotations

import re
from typing import Any

from testbed.api.meta import quantity
from testbed.server.causes import Causes
from testbed.server.names import check_qualified
from testbed.server.validation_containers import check_quantity

Json = dict[str, Any]

IN_ENVIRONMENT = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                  "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
IN_FILES = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN = frozenset({*IN_ENVIRONMENT, *IN_FILES, "spec.restartPolicy", "spec.schedulerName", "status.phase"})
_RESOURCES = tuple(f"{part}.{name}" for part in ("limits", "requests") for name in ("cpu", "ephemeral-storage",
                                                                                    "memory"))
_SUBSCRIPT = re.compile(r"(?P<path>[^\[]+)\['(?P<key>[^']*)'\]\Z")
_CPU_DIVISORS = frozenset({"0", "1", "1m"})
_DIVISORS = frozenset({"0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"})


def check_field_ref(reference: Json, path: str, supported: tuple[str, ...], causes: Causes) -> None:
    if not reference.get("apiVersion"):
        causes.required(f"{path}.apiVersion")
    text, here = reference.get("fieldPath", ""), f"{path}.fieldPath"
    if not text:
        causes.required(here)
        return
    keyed = _SUBSCRIPT.match(text)
    name = keyed["path"] if keyed else text
    if reference.get("apiVersion") not in (None, "", "v1"):
        causes.invalid(here, text, f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}")
    elif name not in _KNOWN:
        causes.invalid(here, text, f"error converting fieldPath: field label not supported: {text}")
    elif keyed and name in ("metadata.annotations", "metadata.labels"):
        check_qualified(keyed["key"].lower() if name == "metadata.annotations" else keyed["key"], path, causes)
    elif keyed:
        causes.invalid(path, name, "does not support subscript")
    elif text not in supported:
        causes.not_supported(here, text, supported)


def check_resource_ref(reference: Json, path: str, causes: Causes, *, file: bool = False) -> None:
    """``file``: in a volume, where the container must be named."""
    if file and not reference.get("containerName"):
        causes.required(f"{path}.containerName")
    name = reference.get("resource", "")
    if not name:
        causes.required(f"{path}.resource")
    elif name not in _RESOURCES and not name.partition(".")[2].startswith("hugepages-"):
        causes.not_supported(f"{path}.resource", name, _RESOURCES)
    before = len(causes.items)
    check_quantity(reference.get("divisor"), f"{path}.divisor", causes)
    if len(causes.items) > before or reference.get("divisor") is None:
        return
    processor = name.endswith(".cpu")
    allowed = _CPU_DIVISORS if processor else _DIVISORS
    if quantity(reference["divisor"]) not in {quantity(item) for item in allowed}:
        words = "1m and 1" if processor else ", ".join(sorted(_DIVISORS - {"0"}, key=quantity))
        kind = name.partition(".")[2]
        causes.invalid(f"{path}.divisor", name, f"only divisor's values {words} are supported with the {kind} resource")


def check_references(spec: Json, path: str, causes: Causes) -> None:
    """Of all environments and all files of a pod."""
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            for number, item in enumerate(container.get("env") or ()):
                source, here = item.get("valueFrom") or {}, f"{path}.{kind}[{index}].env[{number}].valueFrom"
                if source.get("fieldRef") is not None:
                    check_field_ref(source["fieldRef"], f"{here}.fieldRef", IN_ENVIRONMENT, causes)
                if source.get("resourceFieldRef") is not None:
                    check_resource_ref(source["resourceFieldRef"], f"{here}.resourceFieldRef", causes)
    for index, volume in enumerate(spec.get("volumes") or ()):
        here = f"{path}.volumes[{index}]"
        _check_files(volume.get("downwardAPI") or {}, f"{here}.downwardAPI", causes)
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            _check_files(source.get("downwardAPI") or {}, f"{here}.projected.sources[{number}].downwardAPI", causes)


def _check_files(source: Json, path: str, causes: Causes) -> None:
    for index, item in enumerate(source.get("items") or ()):
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            check_field_ref(field, f"{path}.fieldRef", IN_FILES, causes)
            if resource is not None:
                causes.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
        elif resource is not None:
            check_resource_ref(resource, f"{path}.resourceFieldRef", causes, file=True)
        else:
            causes.required(f"{path}[{index}]", "one of fieldRef and resourceFieldRef is required")
