"""What faults do to a simulated world, as plain values. The simulation carries them out; on a real machine the same
plan is carried out by a program in a holder container (``compose/images/nettools``).

Only what has no twin of its own is here: killing, freezing, power and cables are acts that the simulated host and room
know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from errno import ENOTCONN


@dataclass(frozen=True)
class Peer:
    """An address range, and a port of it (0: all)."""

    cidr: str
    port: int = 0


@dataclass(frozen=True)
class Packets:
    """What becomes of a pod's packets. Shares are 0 to 1, times seconds; ``rate`` bits per second, 0 is unlimited.

    ``outgoing``/``incoming``: which packets, seen from the pod. ``peers`` empty: all. ``largest``: bytes on the wire of
    which no packet may have more, 0 is unlimited.
    """

    sandbox: str  # container id
    peers: tuple[Peer, ...] = ()
    outgoing: bool = True
    incoming: bool = False
    drop: bool = False
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    rate: int = 0
    largest: int = 0


@dataclass(frozen=True)
class Split:
    """Pods of ``inside`` and those of ``around`` that are neither in ``inside`` nor in ``friends`` do not reach each
    other: packets that leave ``inside`` (``outgoing``) or go there (``incoming``) are dropped at the gateway."""

    gateway: str  # container id
    inside: str
    friends: tuple[str, ...]
    around: str
    outgoing: bool = True
    incoming: bool = True


@dataclass(frozen=True)
class Names:
    """DNS names that a pod asks for: ``answer`` is "error" or "random". ``patterns`` empty: all."""

    sandbox: str
    patterns: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Requests:
    """HTTP exchanges on a port of a pod. ``rule``: the fault object's own fields."""

    sandbox: str
    port: int
    rule: tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Load:
    """Work beside what runs in a cgroup: CPUs kept busy and memory held."""

    cgroup: str
    cpus: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Clock:
    """How far the clock of a container's processes is off."""

    container: str
    offset_s: float


@dataclass(frozen=True)
class Files:
    """What file operations under a path in a container meet: ``delay_s``, or ``errno``, for a share of them."""

    container: str
    path: str
    pattern: str = ""
    methods: tuple[str, ...] = ()
    delay_s: float = 0.0
    errno: int = 0
    share: float = 1.0


@dataclass(frozen=True)
class Disk:
    """Limits of what containers below a cgroup read and write directly: bytes (``rbps``, ``wbps``) and transfers
    (``riops``, ``wiops``) a second; and what of their node's disk a file takes up."""

    cgroup: str
    limits: tuple[tuple[str, int], ...] = ()
    filled_bytes: int = 0


@dataclass(frozen=True)
class Pulls:
    """What pulls from a registry meet: nobody answers, they are late, or one image (``hidden``) is not found."""

    registry: str  # container id
    refused: bool = False
    delay_s: float = 0.0
    hidden: str = ""


Effect = Pulls | Packets | Split | Names | Requests | Load | Clock | Files | Disk


def left_behind(effect: Effect) -> Effect | None:
    """What of an effect stays when its holder is killed: rules of the kernel, a clock that was moved, a file system
    that nobody serves; not what a process did itself (a reader of a queue, a load)."""
    match effect:
        case Packets():
            kept = replace(effect, latency_s=0.0, jitter_s=0.0, duplicate=0.0, corrupt=0.0, reorder=0.0)
            return kept if kept.drop or kept.loss or kept.rate else None
        case Files():
            return replace(effect, delay_s=0.0, errno=ENOTCONN, share=1.0, pattern="", methods=())
        case Pulls():
            kept_pulls = replace(effect, delay_s=0.0)
            return kept_pulls if effect.refused or effect.hidden else None
        case Clock() | Disk() | Split():
            return effect
        case Load() | Names() | Requests():
            return None
