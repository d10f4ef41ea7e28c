"""Opens the engine and the host of this machine: the one place that chooses an implementation.

Heavy imports (the docker SDK) happen here, when asked, so that a process that needs no engine does not carry them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine
from testbed.runtime.supervision import SupervisingEngine

if TYPE_CHECKING:
    from testbed.runtime.swarm import SwarmEngine


_USUAL = "unix:///var/run/docker.sock"


def engine_address(url: str) -> str:
    """``url``, or the environment's engine's address where it is empty."""
    return url or os.environ.get("DOCKER_HOST") or _USUAL


def open_engine(url: str = "") -> Engine:
    """``url``: empty is the environment's engine (DOCKER_HOST, else the default socket). Connects at first use."""
    from testbed.runtime.docker import DockerEngine

    return DockerEngine(url)


def open_supervising_engine(url: str = "") -> SupervisingEngine:
    """The same engine as a supervisor of containers, for drivers of other orchestrators."""
    from testbed.runtime.docker_supervision import DockerSupervision

    return DockerSupervision(url)


def open_nested_supervising_engine(url: str, machine_url: str, turn: Path) -> SupervisingEngine:
    """A node's own engine as such a supervisor (see ``open_nested_engine``)."""
    from testbed.runtime.docker_supervision import NestedSupervision

    return NestedSupervision(url, machine_url, turn)


def open_nested_engine(url: str, machine_url: str, turn: Path) -> Engine:
    """A node's own engine, which gets its images from the machine's. ``turn``: a file that they lock."""
    from testbed.runtime.nested import NestedEngine

    return NestedEngine(url, machine_url, turn)


def open_swarm_engine(url: str, machine_url: str, turn: Path) -> SwarmEngine:
    """The same as a member of a swarm."""
    from testbed.runtime.swarm import SwarmEngine

    return SwarmEngine(url, machine_url, turn)


def open_host(instance_id: str, engine: Engine) -> Host:
    """Acts on this machine for one instance: in process when root, else through a helper container."""
    from testbed.runtime.host import open_host as choose

    return choose(instance_id, engine)
