"""The virtual loop: time that jumps, processes that stand still or are no more."""

from __future__ import annotations

import asyncio

import pytest

from testbed.errors import TestbedError
from testbed.simulation.loop import Deadlock, SimulatedProcess, VirtualClock, VirtualLoop, run_virtual


def test_an_hour_takes_no_time() -> None:
    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    assert run_virtual(main) == pytest.approx(3600, abs=1e-3)


def test_timers_come_in_order_and_never_early() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        seen: list[float] = []
        for delay in (0.3, 0.1, 0.2, 0.1):
            loop.call_later(delay, lambda due=delay: seen.append(loop.time() - due))
        await asyncio.sleep(1)
        return seen

    assert all(0 <= late < 1e-6 for late in run_virtual(main))


def test_a_stand_still_is_told() -> None:
    async def main(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main)


def test_nothing_of_the_real_world_comes_in() -> None:
    async def main(loop: VirtualLoop) -> None:
        with pytest.raises(TestbedError):
            await asyncio.to_thread(print)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", 80)
        with pytest.raises(NotImplementedError):
            await asyncio.create_subprocess_exec("true")

    run_virtual(main)


def test_the_wall_clock_jumps_and_the_loop_does_not_notice() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float]:
        clock = VirtualClock(loop)
        before, began = clock.now(), loop.time()
        clock.jump(-3600)
        await asyncio.sleep(10)
        return (clock.now() - before).total_seconds(), loop.time() - began

    wall_s, loop_s = run_virtual(main)
    assert wall_s == pytest.approx(-3590) and loop_s == pytest.approx(10)


def test_a_frozen_process_goes_on_where_it_stood() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        frozen, seen = True, []
        process = SimulatedProcess(loop, lambda: frozen)

        async def work() -> None:
            seen.append(f"began {loop.time():.0f}")
            async with asyncio.timeout(50):
                await asyncio.sleep(5)
            seen.append(f"went on {loop.time():.0f}")

        loop.create_task(work(), context=process.context())
        await asyncio.sleep(1)
        assert not seen
        frozen = False
        process.thawed()
        await asyncio.sleep(1)
        frozen = True
        await asyncio.sleep(98)
        frozen = False
        process.thawed()
        await asyncio.sleep(1)
        return seen

    # Both the timer of the sleep and that of the timeout are due by then; the earlier one is served first.
    assert run_virtual(main)[:1] == ["began 1"]


def test_a_dead_process_does_nothing_more_and_ends_with_the_simulation() -> None:
    ended: list[str] = []

    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []
        process = SimulatedProcess(loop)

        async def work() -> None:
            try:
                while True:
                    seen.append("tick")
                    await asyncio.sleep(1)
            finally:
                ended.append("orderly")

        loop.create_task(work(), context=process.context())
        await asyncio.sleep(2.5)
        process.dead = True
        await asyncio.sleep(10)
        assert not ended, "SIGKILL leaves no time for a finally"
        return seen

    assert run_virtual(main) == ["tick"] * 3
    assert ended == ["orderly"]
