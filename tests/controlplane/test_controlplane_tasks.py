"""No loop of the control plane ends unseen (row 57): the process ends with it, and the machine room starts it anew."""

from __future__ import annotations

import asyncio
import random

import pytest
from controlplane_world import virtual, world

from testbed.controlplane.deployments import DeploymentController
from testbed.controlplane.manager import CONTROLLERS, ControlPlane
from testbed.core.profile import FAST


@pytest.mark.parametrize("which", range(len(CONTROLLERS)))
def test_row57_a_controller_that_breaks_ends_the_control_plane(which: int) -> None:
    @virtual
    async def body() -> None:
        async with world() as w:
            control = ControlPlane(w.client, profile=FAST, clock=w.clock, random=random.Random(1))

            async def broken() -> None:
                raise RuntimeError("a bug")

            control.controllers[which].run = broken  # type: ignore[method-assign]
            with pytest.raises(ExceptionGroup, match="unhandled errors"):
                async with asyncio.timeout(30):
                    await control.run()

    body()


def test_row57_a_key_that_always_fails_holds_up_no_other() -> None:
    @virtual
    async def body() -> None:
        async with world() as w:
            controller = next(item for item in w.control_plane.controllers
                              if isinstance(item, DeploymentController))
            real = controller.reconcile

            async def picky(key: str) -> float | None:
                if key.endswith("/cursed"):
                    raise RuntimeError("a bug")
                return await real(key)

            controller.reconcile = picky  # type: ignore[method-assign]
            await w.apply_deployment(name="cursed", replicas=1)
            await w.apply_deployment(replicas=3)
            await w.until(w.complete)

    body()
