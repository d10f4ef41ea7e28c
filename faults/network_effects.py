"""From a NetworkChaos object's own words to what becomes of packets, as plain values. Pure.

Which fields count, as in Chaos Mesh (controllers/podnetworkchaos/controller.go mergeNetem): ``bandwidth`` for the
action of that name, nothing for a partition, and for all others every one of delay, loss, duplicate, corrupt and rate
that is there, whichever of them the action names. The values are those of the tools image (packet_fate.py): shares 0
to 1, seconds, bits per second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from faults.durations import seconds
from faults.effects import Packets, Peer
from faults.protocol import Json

_RATE = re.compile(r"\s*([0-9]{1,18})\s*([kmgt]?)(bit|bps)\s*\Z", re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_CHANCES = ("loss", "duplicate", "corrupt")


def bits_per_s(text: str) -> int:
    """``1mbit`` as 1000000, ``100kbps`` (bytes, as tc has it) as 800000.

    Raises: ValueError when it is not a rate.
    """
    found = _RATE.match(text)
    if not found:
        raise ValueError(f"{text!r} is not a rate such as 1mbit (bits) or 100kbps (bytes per second)")
    return int(found[1]) * _THOUSANDS[found[2].lower()] * (8 if found[3].lower() == "bps" else 1)


def share(text: str) -> float:
    """``25`` as 0.25. Raises: ValueError when it is no percentage."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ValueError(f"{text!r} is not a percentage from 0 to 100")
    return value / 100


def effect_of(spec: Mapping[str, Any]) -> Json:
    """Raises: ValueError when a value is malformed (``network_fields.mistakes`` names it)."""
    if spec["action"] == "partition":
        return {"drop": True}
    if spec["action"] == "bandwidth":
        return {"rate": _bandwidth(spec["bandwidth"])}
    found: Json = {}
    if delay := spec.get("delay"):
        found |= _delay(delay)
    for name in _CHANCES:
        if spec.get(name) and (chance := _chance(spec[name], name))["share"]:
            found[name] = chance
    if spec.get("rate"):
        found["rate"] = {"bits_per_s": bits_per_s(spec["rate"]["rate"])}
    return found


def _delay(delay: Mapping[str, Any]) -> Json:
    latency_s, jitter_s = seconds(delay["latency"]), seconds(delay.get("jitter") or "0ms")
    if not latency_s and not jitter_s:
        return {}
    found: Json = {"delay": {"latency_s": latency_s, "jitter_s": jitter_s,
                             "correlation": share(delay.get("correlation") or "0")}}
    reorder = delay.get("reorder")
    if reorder and (chance := _chance(reorder, "reorder"))["share"]:
        found["reorder"] = {**chance, "gap": int(reorder.get("gap") or 0)}
    return found


def _chance(part: Mapping[str, Any], name: str) -> Json:
    return {"share": share(part[name]), "correlation": share(part.get("correlation") or "0")}


def _bandwidth(part: Mapping[str, Any]) -> Json:
    found: Json = {"bits_per_s": bits_per_s(part["rate"]), "burst_bytes": int(part["buffer"]),
                   "limit_bytes": int(part["limit"])}
    if part.get("peakrate"):  # a bare number is bits per second to tc
        found |= {"peak_bits_per_s": int(part["peakrate"]), "peak_burst_bytes": int(part.get("minburst") or 0)}
    return found


def _largest(rate: Mapping[str, Any]) -> int:
    """Bytes of the largest packet that a bucket takes at all: there must be tokens for it, and room to wait."""
    return min((int(rate[name]) for name in ("limit_bytes", "burst_bytes", "peak_burst_bytes") if rate.get(name)),
               default=0)


def simulated(sandbox: str, effect: Mapping[str, Any], flows: Sequence[Mapping[str, Any]]) -> tuple[Packets, ...]:
    """The same for the simulated world. ``flows``: ``hook`` and ``peers`` of network_flows.sent."""
    delay, rate = effect.get("delay") or {}, effect.get("rate") or {}
    shares = {name: (effect.get(name) or {}).get("share", 0.0) for name in (*_CHANCES, "reorder")}
    return tuple(
        Packets(sandbox, tuple(Peer(peer["cidr"], peer["port"]) for peer in flow["peers"] or ()),
                outgoing=flow["hook"] == "out", incoming=flow["hook"] == "in", drop=bool(effect.get("drop")),
                latency_s=delay.get("latency_s", 0.0), jitter_s=delay.get("jitter_s", 0.0),
                rate=rate.get("bits_per_s", 0), largest=_largest(rate), **shares)
        for flow in flows if flow["peers"] is None or flow["peers"])
