"""Connections whose answer is whole: closed when the server closes them, reset when it does not, looked at together."""

from __future__ import annotations

import asyncio

from testbed.load.parting import LINGER_S, LOOK_S, Parting
from testbed.simulation.loop import run_virtual


class Answered:
    """A connection that its server closes at ``ends_s`` of the loop's clock; never, when None."""

    def __init__(self, ends_s: float | None, *, is_open: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_s, self._open = ends_s, is_open
        self.closed_s = self.reset_s = 0.0
        self.looks = 0

    def rest(self) -> bool:
        return self._open

    def has_ended(self) -> bool:
        self.looks += 1
        if self._ends_s is not None and self._loop.time() >= self._ends_s:
            self.closed_s = self._loop.time()
            return True
        return False

    def abandon(self) -> None:
        self.reset_s = self._loop.time()


def parted(*connections: tuple[float | None, bool]) -> list[Answered]:
    """All of them taken at 10 s, and watched for two seconds."""
    async def run(loop: asyncio.AbstractEventLoop) -> list[Answered]:
        await asyncio.sleep(10)
        parting = Parting(loop)
        made = [Answered(None if ends is None else 10 + ends, is_open=is_open) for ends, is_open in connections]
        for connection in made:
            parting.take(connection)
        await asyncio.sleep(2)
        return made

    return run_virtual(run)


def test_a_connection_is_closed_soon_after_its_server_did() -> None:
    (quick, slow) = parted((0.001, True), (0.4, True))
    assert 0 < quick.closed_s - 10.001 <= LOOK_S and 0 <= slow.closed_s - 10.4 <= LOOK_S + 1e-6
    assert quick.reset_s == slow.reset_s == 0.0


def test_a_server_that_does_not_close_is_reset_after_a_second() -> None:
    (found,) = parted((None, True))
    assert LINGER_S <= found.reset_s - 10 <= LINGER_S + LOOK_S + 1e-6
    assert found.closed_s == 0.0


def test_what_is_closed_already_is_not_looked_at() -> None:
    (found,) = parted((None, False))
    assert found.looks == 0 and found.reset_s == 0.0


def test_it_sleeps_when_nobody_waits() -> None:
    (found,) = parted((0.001, True))
    assert found.looks == 1
