"""Taking back what was injected, as the API tells of it where no watch does."""

from __future__ import annotations

from pathlib import Path

from runner_world import RunnerWorld

from faults.kinds import FREEZE_CHAOS
from testbed.experiment.evidence import Observer
from testbed.experiment.held import fault_step
from testbed.experiment.journal import Journal
from testbed.experiment.steps import Doer
from testbed.experiment.undoing import undo_all

FREEZE = {"apiVersion": FREEZE_CHAOS.api_version, "kind": FREEZE_CHAOS.kind,
          "spec": {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}, "duration": "30s"}}


async def test_a_fault_that_no_watch_has_ever_seen_is_gone_when_the_api_does_not_have_it(tmp_path: Path) -> None:
    """It was made and deleted while the watch was away; here the observer watches nothing at all."""
    async with RunnerWorld(tmp_path) as world:
        doer = Doer(world.client, "default", "run", 1, Journal(tmp_path, "run", "x", 0), {})
        await doer.do(fault_step("hang", FREEZE, 1.0), 0.0, 0.0)
        await world.daemon.injected.wait()
        undone = await undo_all(doer, Observer(world.client, "default", [FREEZE_CHAOS]), 1.0)
        assert (undone.gone, undone.problems) == (("run-1-hang",), ())


async def test_a_fault_that_is_still_there_is_named(tmp_path: Path) -> None:
    async with RunnerWorld(tmp_path) as world:
        doer = Doer(world.client, "default", "run", 1, Journal(tmp_path, "run", "x", 0), {})
        await doer.do(fault_step("hang", FREEZE, 1.0), 0.0, 0.0)
        await world.daemon.injected.wait()
        world.daemon.stuck = True
        undone = await undo_all(doer, Observer(world.client, "default", [FREEZE_CHAOS]), 0.2)
        assert (undone.gone, undone.problems) == ((), ("still in force: run-1-hang",))
