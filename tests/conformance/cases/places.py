"""Where a container under test stands in its pod: a regular container, or a sidecar beside a pause container.

Upstream runs its probe and hook tests at both places; so do ours, with one body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .kube import Kube
from .manifests import POLITE, app, pod
from .registry import case

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """``sidecar``: a restartable init container."""

    sidecar: bool

    def pod(self, name: str, container: Json, **spec: Any) -> Json:
        if not self.sidecar:
            return pod(name, container, **spec)
        return pod(name, app("pause", script=POLITE), initContainers=[container | {"restartPolicy": "Always"}], **spec)


REGULAR, SIDECAR = Place(sidecar=False), Place(sidecar=True)
PlacedBody = Callable[[Kube, Place], Awaitable[None]]


def at(place: Place, identity: str, variant: str = "", **fields: Any) -> Callable[[PlacedBody], PlacedBody]:
    """Registers a body for one place. ``fields``: as of ``case``."""
    def register(body: PlacedBody) -> PlacedBody:
        async def placed(kube: Kube) -> None:
            await body(kube, place)

        case(identity, variant, **fields)(placed)
        return body

    return register
