"""Which containers are valid: image, ports, environment, mounts, resources, probes and hooks.

Source: kubernetes pkg/apis/core/validation/validation.go (validateContainers, validateProbe, validateHandler).
"""

from __future__ import annotations

from typing import Any

from testbed.api.meta import quantity
from testbed.server.causes import Causes
from testbed.server.names import ENV_NAME, PORT_NAME, check_own_name, check_qualified
from testbed.server.validation_security import check_security

Json = dict[str, Any]

_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_PULL = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def check_container(
    container: Json, path: str, names: set[str], volumes: set[str], causes: Causes, *, init: bool = False,
) -> None:
    check_own_name(container.get("name", ""), names, f"{path}.name", causes)
    image = container.get("image", "")
    if not image:
        causes.required(f"{path}.image")
    elif image != image.strip():
        causes.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    if container.get("imagePullPolicy") not in _PULL:
        causes.not_supported(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    if container.get("terminationMessagePolicy") not in ("File", "FallbackToLogsOnError"):
        causes.not_supported(f"{path}.terminationMessagePolicy", container.get("terminationMessagePolicy"),
                             ("File", "FallbackToLogsOnError"))
    for key in ("command", "args"):
        for index, item in enumerate(container.get(key) or ()):
            _no_nul(item, f"{path}.{key}[{index}]", causes)
    sidecar = init and container.get("restartPolicy") == "Always"
    if init and container.get("restartPolicy") not in (None, "Always"):
        causes.not_supported(f"{path}.restartPolicy", container["restartPolicy"], ("Always",))
    _check_ports(container.get("ports") or (), f"{path}.ports", causes)
    _check_env(container, path, causes)
    _check_mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes, causes)
    check_resources(container.get("resources") or {}, f"{path}.resources", causes)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            if init and not sidecar:
                causes.forbidden(f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always")
            _check_probe(container[probe], f"{path}.{probe}", probe, causes)
    for hook, handler in (container.get("lifecycle") or {}).items():
        _check_handler(handler, f"{path}.lifecycle.{hook}", ("exec", "httpGet", "tcpSocket", "sleep"), causes)
    check_security(container.get("securityContext") or {}, f"{path}.securityContext", causes)


def _no_nul(text: str, path: str, causes: Causes) -> None:
    if "\x00" in text:
        causes.invalid(path, text, "must not contain NUL")


def _check_ports(ports: Any, path: str, causes: Causes) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if not port.get("containerPort"):
            causes.required(f"{here}.containerPort")
        else:
            check_port_number(port["containerPort"], f"{here}.containerPort", causes)
        if port.get("hostPort"):
            check_port_number(port["hostPort"], f"{here}.hostPort", causes)
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            causes.not_supported(f"{here}.protocol", port.get("protocol"), ("TCP", "UDP", "SCTP"))
        name = port.get("name")
        if name:
            check_port_name(name, f"{here}.name", causes)
            if name in names:
                causes.duplicate(f"{here}.name", name)
            names.add(name)


def check_port_number(port: Any, path: str, causes: Causes) -> None:
    if isinstance(port, int) and not 1 <= port <= 65535:
        causes.invalid(path, port, "must be between 1 and 65535, inclusive")


def check_port_name(name: str, path: str, causes: Causes) -> None:
    if len(name) > 15:
        causes.invalid(path, name, "must be no more than 15 characters")
    elif not PORT_NAME.match(name):
        causes.invalid(path, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), and at "
                                   "least one "
                       "letter")


def _check_env(container: Json, path: str, causes: Causes) -> None:
    for index, env in enumerate(container.get("env") or ()):
        here = f"{path}.env[{index}]"
        name = env.get("name", "")
        if not name:
            causes.required(f"{here}.name")
        elif not ENV_NAME.match(name):
            causes.invalid(f"{here}.name", name, "a valid environment variable name must consist only of printable "
                                                 "ASCII "
                           "characters other than '='")
        if "\x00" in env.get("value", ""):
            causes.invalid(f"{here}.value", "", "must not contain NUL")
        source = env.get("valueFrom")
        if source is not None:
            if env.get("value"):
                causes.invalid(f"{here}.valueFrom", "", "may not be specified when `value` is not empty")
            if len(source) != 1:
                causes.invalid(f"{here}.valueFrom", "", "must specify exactly one of: `fieldRef`, `resourceFieldRef`, "
                               "`configMapKeyRef` or `secretKeyRef`")
            for kind in ("configMapKeyRef", "secretKeyRef"):
                if source.get(kind) is not None and not source[kind].get("key"):
                    causes.required(f"{here}.valueFrom.{kind}.key")
    for index, source in enumerate(container.get("envFrom") or ()):
        kinds = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if len(kinds) != 1:
            causes.invalid(f"{path}.envFrom[{index}]", "", "must specify exactly one of: `configMapRef` or `secretRef`")
        elif not source[kinds[0]].get("name"):
            causes.required(f"{path}.envFrom[{index}].{kinds[0]}.name")


def _check_mounts(mounts: Any, path: str, volumes: set[str], causes: Causes) -> None:
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        if not mount.get("name"):
            causes.required(f"{here}.name")
        elif mount["name"] not in volumes:
            causes.not_found(f"{here}.name", mount["name"])
        place = mount.get("mountPath", "")
        if not place:
            causes.required(f"{here}.mountPath")
        elif place in paths:
            causes.invalid(f"{here}.mountPath", place, "must be unique")
        elif ":" in place:
            causes.invalid(f"{here}.mountPath", place, "must not contain ':'")
        else:
            _no_nul(place, f"{here}.mountPath", causes)
        paths.add(place)
        if mount.get("subPath") and mount.get("subPathExpr"):
            causes.invalid(f"{here}.subPathExpr", mount["subPathExpr"],
                           "subPathExpr and subPath are mutually exclusive")
        if mount.get("subPath"):
            check_relative(mount["subPath"], f"{here}.subPath", causes)


def check_quantity(value: Any, path: str, causes: Causes) -> None:
    if value is None:
        return
    try:
        if quantity(value) < 0:
            causes.invalid(path, str(value), "must be greater than or equal to 0")
    except ValueError:
        causes.invalid(path, str(value), "quantities must match the regular expression "
                       "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")


def check_resources(resources: Json, path: str, causes: Causes) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    before = len(causes.items)
    for part, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            check_qualified(name, f"{path}.{part}", causes)
            if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
                causes.invalid(f"{path}.{part}[{name}]", name, "must be a standard resource for containers")
            check_quantity(value, f"{path}.{part}[{name}]", causes)
    if len(causes.items) > before:
        return
    for name, value in requests.items():
        if "/" in name and name not in limits:
            causes.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif "/" in name and quantity(value) != quantity(limits[name]):
            causes.invalid(f"{path}.requests", str(value), f"must be equal to {name} limit of {limits[name]}")
        elif name in limits and quantity(value) > quantity(limits[name]):
            causes.invalid(f"{path}.requests", str(value), f"must be less than or equal to {name} limit of "
                                                           f"{limits[name]}")


def _check_probe(probe: Json, path: str, kind: str, causes: Causes) -> None:
    _check_handler(probe, path, _HANDLERS, causes)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        not_negative(probe.get(key), f"{path}.{key}", causes)
    if kind != "readinessProbe" and probe.get("successThreshold") != 1:
        causes.invalid(f"{path}.successThreshold", probe.get("successThreshold"), "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None:
        if kind == "readinessProbe":
            causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
        elif grace <= 0:
            causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _check_handler(handler: Json, path: str, kinds: tuple[str, ...], causes: Causes) -> None:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        causes.required(path, "must specify a handler type")
        return
    for extra in given[1:]:
        causes.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    kind = given[0]
    action = handler[kind]
    if kind == "exec":
        if not action.get("command"):
            causes.required(f"{path}.exec.command")
        for index, item in enumerate(action.get("command") or ()):
            _no_nul(item, f"{path}.exec.command[{index}]", causes)
    elif kind != "sleep":  # which must fit the grace: validation_hooks
        _check_action_port(action, f"{path}.{kind}", kind, causes)


def _check_action_port(action: Json, path: str, kind: str, causes: Causes) -> None:
    port = action.get("port")
    if port is None:
        causes.required(f"{path}.port")
    elif isinstance(port, int):
        check_port_number(port, f"{path}.port", causes)
    else:
        check_port_name(port, f"{path}.port", causes)
    if kind == "httpGet":
        if action.get("scheme", "HTTP") not in ("HTTP", "HTTPS"):
            causes.not_supported(f"{path}.scheme", action.get("scheme"), ("HTTP", "HTTPS"))
        for index, header in enumerate(action.get("httpHeaders") or ()):
            name = header.get("name", "")
            if not name or not all(char.isalnum() or char in "-_!#$%&'*+.^`|~" for char in name):
                causes.invalid(f"{path}.httpHeaders[{index}].name", name, "a valid HTTP header must consist of "
                                                                          "alphanumeric "
                               "characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')")
            if any(char in header.get("value", "") for char in "\r\n\x00"):
                causes.invalid(f"{path}.httpHeaders[{index}].value", "", "must not contain line breaks or NUL")


def not_negative(value: Any, path: str, causes: Causes) -> None:
    if isinstance(value, int) and value < 0:
        causes.invalid(path, value, "must be greater than or equal to 0")


def check_relative(text: str, path: str, causes: Causes) -> None:
    if not text:
        causes.required(path)
    elif text.startswith("/"):
        causes.invalid(path, text, "must be a relative path")
    elif ".." in text.split("/"):
        causes.invalid(path, text, "must not contain '..'")
