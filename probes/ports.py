"""Which port a probe means: a number, a number as text, or the name of a container's port.

Source: kubernetes pkg/probe/util.go ResolveContainerPort: a name that is not found is an error, not a failure.
"""

from __future__ import annotations

from collections.abc import Mapping


class NoSuchPort(Exception):
    """The probe names a port that its container does not have."""


def port_number(port: int | str, named: Mapping[str, int]) -> int:
    """Raises: NoSuchPort."""
    if isinstance(port, int):
        number = port
    elif port in named:
        number = named[port]
    elif port.isdecimal():
        number = int(port)
    else:
        raise NoSuchPort(f"couldn't find port: {port!r}")
    if not 0 < number < 65536:
        raise NoSuchPort(f"invalid port number: {number}")
    return number
