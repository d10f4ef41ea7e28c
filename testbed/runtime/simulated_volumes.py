"""Volumes of a simulated engine: real directories, so that data outlives every container."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping

from testbed.errors import EngineError, NameConflict
from testbed.runtime.assets import VolumeState
from testbed.runtime.simulated_machine import SimulatedMachine


class SimulatedVolumes(ABC):
    machine: SimulatedMachine

    @abstractmethod
    async def _asked(self, what: str = "call") -> None:
        """The call's way to the engine."""

    async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        await self._asked()
        found = self.machine.volumes.get(name)
        if found is None:
            directory = self.machine.volume_directory / name
            directory.mkdir(parents=True, exist_ok=True)
            found = self.machine.volumes[name] = VolumeState(name, dict(labels), str(directory))
        if any(found.labels.get(key) != value for key, value in labels.items()):
            raise NameConflict(f"a volume named {name} exists already and is not ours")
        return found

    async def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]:
        await self._asked()
        return tuple(item for item in self.machine.volumes.values()
                     if all(item.labels.get(key) == value for key, value in labels.items()))

    async def remove_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        await self._asked()
        found = self.machine.volumes.get(name)
        if found is None:
            return
        if any(found.labels.get(key) != value for key, value in labels.items()):
            raise EngineError(f"volume {name} is not ours and is not removed")
        if self.machine.users_of(name):
            raise EngineError(f"remove {name}: volume is in use")
        del self.machine.volumes[name]
        shutil.rmtree(found.mountpoint, ignore_errors=True)
