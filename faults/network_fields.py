"""The fields of NetworkChaos and what may not stand in them.

Schema: chaos-mesh config/crd/bases/chaos-mesh.org_networkchaos.yaml. Rules: chaos-mesh api/v1alpha1/
networkchaos_webhook.go and common_webhook.go (durations, numbers, rates, direction, the target's value). Beyond
upstream, because nothing could come of it: a percentage over 100, a delay of more than a minute, a fault that changes
nothing, a peak rate without its burst (tc refuses that one), a peer that is neither an IPv4 range nor a name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from faults.crd import selector
from faults.durations import seconds
from faults.network_effects import bits_per_s, effect_of, share
from faults.network_flows import split
from faults.protocol import Json
from faults.selection import MODES
from testbed.errors import Mistake

MAX_DELAY_S = 60.0
_DURATION = r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$"
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                   r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?\Z")
_DEVICE = r"^[^/\s]{1,15}(@.*)?$"  # IFNAMSIZ
_STRING: Json = {"type": "string"}
_PERCENT: Json = {"type": "string", "description": 'A percentage, 0 to 100, as a string: "25".'}
_RATE: Json = {"type": "string", "description": "bit, kbit, mbit, gbit, tbit are bits per second; bps, kbps, mbps, "
                                                "gbps, tbps are bytes per second."}


def _object(required: tuple[str, ...], **properties: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": properties}


def _duration(text: str) -> Json:
    return {"type": "string", "pattern": _DURATION, "description": text}


def _whole(text: str, minimum: int, maximum: int = 2**32 - 1) -> Json:
    return {"type": "integer", "format": "int64", "minimum": minimum, "maximum": maximum, "description": text}


FIELDS: Mapping[str, Json] = {
    "delay": _object(
        ("latency",), latency=_duration("How late a packet is, such as 90ms."), correlation=_PERCENT,
        jitter=_duration("By how much the latency varies, evenly, up and down."),
        reorder=_object(("reorder", "gap"), reorder=_PERCENT, correlation=_PERCENT,
                        gap={"type": "integer", "minimum": 0, "maximum": 2**31 - 1,
                             "description": "Every so many packets, one may pass those that wait."})),
    "loss": _object(("loss",), loss=_PERCENT, correlation=_PERCENT),
    "duplicate": _object(("duplicate",), duplicate=_PERCENT, correlation=_PERCENT),
    "corrupt": _object(("corrupt",), corrupt=_PERCENT, correlation=_PERCENT),
    "rate": _object(("rate",), rate=_RATE),
    "bandwidth": _object(
        ("rate", "limit", "buffer"), rate=_RATE, limit=_whole("Bytes that may wait.", 1),
        buffer=_whole("Bytes that pass at once.", 1), peakrate=_whole("Bits per second, at most.", 0, 2**53),
        minburst=_whole("Bytes that pass at once at the peak rate.", 0)),
    "direction": {"type": "string", "enum": ["to", "from", "both"], "default": "to",
                  "description": "Packets from the selected pods to the target, the other way, or both."},
    "target": _object(("mode", "selector"), selector=selector(), mode={"type": "string", "enum": list(MODES)},
                      value=_STRING),
    "externalTargets": {"type": "array", "items": _STRING,
                        "description": "IPv4 addresses, ranges and names, each with :port where wanted."},
    "device": {"type": "string", "pattern": _DEVICE, "description": "Network device of the selected pods; eth0."},
    "targetDevice": {"type": "string", "pattern": _DEVICE, "description": "Network device of the target pods; eth0."},
}


def mistakes(spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
    found = [*_values(spec), *_direction(spec), *_target(spec), *_external(spec)]
    if not found:
        found += _nothing(spec)
    return tuple(found)


def _values(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    """Fields whose form the schema cannot say."""
    yield from _checked(share, spec, "loss.loss", "loss.correlation", "duplicate.duplicate", "duplicate.correlation",
                        "corrupt.corrupt", "corrupt.correlation", "delay.correlation", "delay.reorder.reorder",
                        "delay.reorder.correlation")
    yield from _checked(_positive_rate, spec, "rate.rate", "bandwidth.rate")
    yield from _checked(_short, spec, "delay.latency", "delay.jitter")
    part = spec.get("bandwidth") or {}
    if part.get("peakrate") and not part.get("minburst"):
        yield Mistake("a peakrate needs a minburst: how many bytes pass at once", "spec.bandwidth.minburst")


def _checked(check: Callable[[str], float], spec: Mapping[str, Any], *paths: str) -> Iterator[Mistake]:
    for path in paths:
        value: Any = spec
        for name in path.split("."):
            value = (value or {}).get(name)
        if value:
            try:
                check(str(value))
            except ValueError as error:
                yield Mistake(str(error), f"spec.{path}")


def _positive_rate(text: str) -> float:
    if not bits_per_s(text):
        raise ValueError("must be more than 0; action partition stops everything")
    return bits_per_s(text)


def _short(text: str) -> float:
    if seconds(text) > MAX_DELAY_S:
        raise ValueError(f"must be at most {MAX_DELAY_S:.0f}s")
    return seconds(text)


def _direction(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    """A partition may have any direction; all else is done to outgoing packets of pods."""
    direction = spec.get("direction") or "to"
    if spec["action"] == "partition" or direction == "to":
        return
    if spec.get("externalTargets"):
        yield Mistake(f"direction {direction} cannot be used with externalTargets but by action partition",
                      "spec.direction")
    elif not spec.get("target"):
        yield Mistake(f"direction {direction} cannot be used without a target but by action partition",
                      "spec.direction")


def _target(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    target = spec.get("target") or {}
    mode, value = target.get("mode"), str(target.get("value") or "")
    most = 100 if mode in ("fixed-percent", "random-max-percent") else 10_000_000
    if mode not in ("fixed", "fixed-percent", "random-max-percent"):
        return
    if not value.isascii() or not value.isdigit() or len(value) > 8 or not 0 < int(value) <= most:
        yield Mistake(f"mode {mode} needs a whole number from 1 to {most}", "spec.target.value")


def _external(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    for index, text in enumerate(spec.get("externalTargets") or ()):
        if not _is_peer(text):
            yield Mistake(f"{text[:80]!r} is not an IPv4 address, a range or a name, with :port from 1 to 65535 where "
                          "wanted", f"spec.externalTargets[{index}]")


def _is_peer(text: str) -> bool:
    if ":" in text:
        port = text.strip().rpartition(":")[2]
        if not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) <= 65535:
            return False
    host, _ = split(text)
    try:
        ipaddress.IPv4Network(host, strict=False)
    except ValueError:
        labels_are_numbers = host.replace(".", "").isdigit() or "/" in host  # a wrong address, no name
        return bool(_NAME.match(host)) and not labels_are_numbers
    return True


def _nothing(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    action = spec["action"]
    if action == "bandwidth" and not spec.get("bandwidth"):
        yield Mistake("action bandwidth needs it", "spec.bandwidth")
    elif action != "bandwidth" and not effect_of(spec):
        name = "delay" if action == "netem" else action
        yield Mistake("nothing would change: give one of delay, loss, duplicate, corrupt, rate that is more than 0",
                      f"spec.{name}")
