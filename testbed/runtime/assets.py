"""What an engine keeps beside containers, as it tells it: images, networks and volumes. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageState:
    id: str
    tags: tuple[str, ...]
    size_bytes: int
    labels: Mapping[str, str]
    stop_signal: str = ""
    user: str = ""


@dataclass(frozen=True)
class VolumeState:
    """``mountpoint``: where its data lies on the engine's machine."""

    name: str
    labels: Mapping[str, str]
    mountpoint: str


@dataclass(frozen=True)
class NetworkState:
    id: str
    name: str
    subnets: tuple[str, ...]
    labels: Mapping[str, str]
