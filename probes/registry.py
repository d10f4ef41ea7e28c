"""Probe kinds by name: ours, and whatever other packages offer as entry points ``testbed.probes``.

A kind of ours is found without installed metadata too, so that a checkout works as it is.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from probes.protocol import ProbeKind
from testbed.errors import InvalidInput

GROUP = "testbed.probes"
_OURS = {
    "http": "probes.http:HttpProbe", "tcp": "probes.tcp:TcpProbe", "exec": "probes.exec:ExecProbe",
    "grpc": "probes.grpc:GrpcProbe",
}


@cache
def probe_kind(name: str) -> ProbeKind:
    """The kind of that name, made once.

    Raises: InvalidInput when there is none.
    """
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        kind: ProbeKind = getattr(import_module(module), attribute)()
        return kind
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            found: ProbeKind = entry.load()()
            return found
    raise InvalidInput(f"there is no probe kind {name!r}", hint="kinds: " + ", ".join(kind_names()))


def kind_names() -> tuple[str, ...]:
    return tuple(sorted({*_OURS, *(entry.name for entry in entry_points(group=GROUP))}))
