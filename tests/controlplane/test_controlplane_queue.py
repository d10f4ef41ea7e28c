"""The work queue: no key twice at once, none lost, failures later and later."""

from __future__ import annotations

import asyncio

from controlplane_world import virtual

from testbed.controlplane.queue import BACKOFF_MAX_S, WorkQueue


@virtual
async def test_a_waiting_key_is_queued_once_and_keys_keep_their_order() -> None:
    queue = WorkQueue()
    for key in ("b", "a", "b", "c", "a"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["b", "a", "c"]
    assert queue.depth == 0


@virtual
async def test_a_key_that_is_worked_on_comes_again_after_it() -> None:
    queue = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert queue.depth == 0
    queue.done(key)
    assert queue.depth == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


@virtual
async def test_failures_wait_twice_as_long_each_time_until_they_are_forgotten() -> None:
    queue, loop = WorkQueue(), asyncio.get_running_loop()
    waits = []
    for _ in range(20):
        start_s = loop.time()
        queue.retry("a")
        key = await queue.get()
        waits.append(round(loop.time() - start_s, 6))
        queue.done(key)
    assert waits[:5] == [0.005, 0.01, 0.02, 0.04, 0.08]
    assert waits[-1] == BACKOFF_MAX_S
    queue.forget("a")
    start_s = loop.time()
    queue.retry("a")
    await queue.get()
    assert round(loop.time() - start_s, 6) == 0.005


@virtual
async def test_the_earlier_of_two_later_looks_counts() -> None:
    queue, loop = WorkQueue(), asyncio.get_running_loop()
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    await queue.get()
    assert loop.time() == 3
    queue.done("a")
    queue.close()
