"""The register of conformance cases: bodies by case id, each written once and run on both engines.

A body is a coroutine that takes a ``Kube``. Ids and what they ask come from ``catalogue.py``; several bodies may share
an id (``variant``), where upstream's row holds several tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .kube import Kube

Body = Callable[[Kube], Awaitable[None]]
LONGEST_REAL_S = 60.0


@dataclass(frozen=True)
class Case:
    """``real_s``: about how long it takes on a real engine; over 60 s it runs in virtual time only. ``unreal``: why it
    cannot run on Docker at all. ``quick``: one of the ten that ``make test`` runs on Docker. ``nodes``: how many the
    simulated cluster has (the real one has three). ``constants``: of the profile that are not upstream's defaults."""

    id: str
    variant: str
    body: Body
    real_s: float
    unreal: str
    quick: bool
    nodes: int
    constants: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.id}-{self.variant}" if self.variant else self.id

    @property
    def not_on_docker(self) -> str:
        """Why not; empty when it runs there."""
        if self.unreal:
            return self.unreal
        return f"takes {self.real_s:.0f} s there" if self.real_s > LONGEST_REAL_S else ""


CASES: dict[str, Case] = {}


def case(
    identity: str, variant: str = "", *, real_s: float, unreal: str = "", quick: bool = False, nodes: int = 1,
    constants: Mapping[str, Any] | None = None,
) -> Callable[[Body], Body]:
    """Registers a body. Raises: ValueError for a name that is taken."""
    def register(body: Body) -> Body:
        made = Case(identity, variant, body, real_s, unreal, quick, nodes, constants or {})
        if made.name in CASES:
            raise ValueError(f"two bodies are named {made.name}")
        CASES[made.name] = made
        return body

    return register
