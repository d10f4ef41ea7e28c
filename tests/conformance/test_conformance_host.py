"""What every host does to processes and cgroups of its instance, and refuses to do to others."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
from engine_rig import Rig, eventually, groups_of

from testbed.errors import HostError
from testbed.runtime.host_protocol import ProcessIdentity

SIGKILL, SIGTERM = 9, 15


async def _process(rig: Rig, *command: str, **fields: object) -> tuple[str, ProcessIdentity]:
    state = await rig.started(*command, **fields)
    return state.id, await rig.host.identify(state.pid)


async def test_a_crash_is_seen_and_the_engine_learns_of_it(rig: Rig) -> None:
    container, process = await _process(rig)
    assert await rig.host.alive(process)
    watching = asyncio.create_task(rig.host.wait_exit(process))
    await asyncio.sleep(0)
    await rig.host.signal(process, SIGKILL)
    assert await watching > 0
    assert not await rig.host.alive(process)
    assert (await rig.ended(container)).exit_code == 137
    await rig.host.signal(process, SIGKILL)
    assert await rig.host.wait_exit(process) > 0


async def test_waiting_for_an_end_can_be_cancelled(rig: Rig) -> None:
    _, process = await _process(rig)
    watching = asyncio.create_task(rig.host.wait_exit(process))
    await asyncio.sleep(0.01)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert await rig.host.alive(process)


async def test_row_4_a_recycled_number_is_another_process(rig: Rig) -> None:
    _, process = await _process(rig)
    later = replace(process, start_ticks=process.start_ticks + 1)
    assert not await rig.host.alive(later)
    await rig.host.signal(later, SIGKILL)
    assert await rig.host.alive(process)
    with pytest.raises(HostError):
        await rig.host.exec_in_container(later, ("true",), timeout_s=5)


async def test_freezing_stops_a_container_and_thawing_lets_it_go_on(rig: Rig) -> None:
    container, process = await _process(rig)
    cgroup = await rig.host.cgroup_of(process)
    assert cgroup.startswith(f"{rig.cgroup}/node/")
    await rig.host.freeze(cgroup)
    assert await rig.host.frozen(cgroup)
    assert (await rig.engine.inspect(container)).status == "running"
    with pytest.raises(TimeoutError):
        await rig.host.exec_in_container(process, ("true",), timeout_s=0.3)
    await rig.host.thaw(cgroup)
    await rig.host.thaw(cgroup)
    assert not await rig.host.frozen(cgroup)
    assert (await rig.host.exec_in_container(process, ("true",), timeout_s=10)).exit_code == 0
    await rig.host.thaw(f"{rig.cgroup}/node/gone")
    assert not await rig.host.frozen(f"{rig.cgroup}/node/gone")


async def test_a_nodes_freeze_holds_everything_below_it(rig: Rig) -> None:
    _, process = await _process(rig)
    node, own = f"{rig.cgroup}/node", await rig.host.cgroup_of(process)
    await rig.host.freeze(node)
    assert await rig.host.frozen(own)
    await rig.host.thaw(own)  # not what is frozen: harmless, and changes nothing
    assert await rig.host.frozen(own)
    await rig.host.thaw(node)
    assert not await rig.host.frozen(own)


async def test_a_frozen_process_gets_its_signal_when_it_is_thawed(rig: Rig) -> None:
    script = "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    container, process = await _process(rig, "sh", "-c", script)
    async for line in rig.engine.logs(container, follow=True):
        assert line == b"ready\n"
        break
    cgroup = await rig.host.cgroup_of(process)
    await rig.host.freeze(cgroup)
    await rig.host.signal(process, SIGTERM)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await rig.host.wait_exit(process)
    await rig.host.thaw(cgroup)
    assert (await rig.ended(container)).exit_code == 7


async def test_killing_a_cgroup_ends_all_in_it_frozen_or_not(rig: Rig) -> None:
    first, one = await _process(rig)
    second, other = await _process(rig)
    assert set(await rig.host.pids_in(f"{rig.cgroup}/node")) >= {one.pid, other.pid}
    await rig.host.freeze(await rig.host.cgroup_of(one))
    await rig.host.kill_cgroup(f"{rig.cgroup}/node")
    assert await rig.host.pids_in(f"{rig.cgroup}/node") == ()
    assert not await rig.host.alive(one) and not await rig.host.alive(other)
    assert (await rig.ended(first)).exit_code == (await rig.ended(second)).exit_code == 137
    await rig.host.kill_cgroup(f"{rig.cgroup}/node")


async def test_cgroups_come_and_go(rig: Rig) -> None:
    await rig.host.create_cgroup(f"{rig.cgroup}/node/agent")
    await rig.host.create_cgroup(f"{rig.cgroup}/node/agent")
    assert await rig.host.pids_in(f"{rig.cgroup}/node/agent") == ()
    await rig.host.remove_cgroup(f"{rig.cgroup}/node")
    await rig.host.remove_cgroup(f"{rig.cgroup}/node")
    with pytest.raises(HostError):
        await rig.host.freeze(f"{rig.cgroup}/node")


async def test_a_process_of_ours_joins_a_containers_group_and_shares_its_fate(rig: Rig) -> None:
    _, target = await _process(rig)
    _, guest = await _process(rig)
    group = await rig.host.cgroup_of(target)
    await rig.host.join_cgroup(group, guest.pid)
    await rig.host.join_cgroup(group, guest.pid)
    assert await rig.host.cgroup_of(guest) == group
    assert set(await rig.host.pids_in(group)) == {target.pid, guest.pid}
    if rig.machine is None:
        assert groups_of(guest.pid) == {group}  # in every hierarchy: its limits count
    await rig.host.kill_cgroup(group)
    assert not await rig.host.alive(guest)
    with pytest.raises(HostError):
        await rig.host.join_cgroup("/docker", guest.pid)


async def test_programs_run_inside_a_container(rig: Rig) -> None:
    _, process = await _process(rig, env=(("COLOUR", "blue"),))
    result = await rig.host.exec_in_container(process, ("sh", "-c", "echo hello; exit 4"), timeout_s=10)
    assert (result.exit_code, result.output) == (4, b"hello\n")
    assert (await rig.host.exec_in_container(process, ("printenv", "COLOUR"), timeout_s=10)).output == b"blue\n"
    long = await rig.host.exec_in_container(process, ("echo", "x" * 500), timeout_s=10, limit_bytes=100)
    assert long.output == b"x" * 100
    with pytest.raises(HostError):
        await rig.host.exec_in_container(process, ("no-such-program",), timeout_s=10)


async def test_row_25_a_program_that_takes_too_long_is_ended(rig: Rig) -> None:
    container, process = await _process(rig)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await rig.host.exec_in_container(process, ("sleep", "1000"), timeout_s=0.2)
    cgroup = await rig.host.cgroup_of(process)

    async def alone() -> bool:
        return await rig.host.pids_in(cgroup) == (process.pid,)

    await eventually("only the container's own process is left", alone)
    assert (await rig.engine.inspect(container)).running


async def test_a_host_program_runs_in_the_containers_network(rig: Rig) -> None:
    _, process = await _process(rig)
    assert (await rig.host.run_in(process, ("ip", "link", "show"))).exit_code == 0
    assert (await rig.host.run_in(process, ("cat",), stdin=b"text")).stdout == b"text"


async def test_what_a_container_and_its_node_use_is_read(rig: Rig) -> None:
    _, process = await _process(rig)
    own = await rig.host.usage_in(await rig.host.cgroup_of(process))
    assert own.cpu_seconds > 0 and own.threads >= 1
    assert own.memory_bytes >= own.working_set_bytes > 0
    node = await rig.host.usage_in(f"{rig.cgroup}/node")
    assert node.cpu_seconds >= own.cpu_seconds
    with pytest.raises(HostError):
        await rig.host.usage_in(f"{rig.cgroup}/node/gone")


async def test_what_goes_through_a_containers_network_is_read(rig: Rig) -> None:
    _, process = await _process(rig)
    for interface in await rig.host.interfaces_of(process):
        assert interface.name != "lo" and min(interface.received_bytes, interface.sent_bytes) >= 0
    gone = replace(process, pid=2**22 + 1)
    assert await rig.host.interfaces_of(gone) == ()


async def test_i9_what_is_not_of_this_instance_is_left_alone(rig: Rig) -> None:
    stranger = replace(rig.spec(), labels={"testbed.io/instance": rig.id[::-1]}, cgroup_parent="")
    state = await rig.engine.start(await rig.engine.create(stranger))
    rig.others.append(state.id)
    process = await rig.host.identify(state.pid)
    foreign = await rig.host.cgroup_of(process)
    for act in (
        rig.host.signal(process, SIGKILL), rig.host.exec_in_container(process, ("true",), timeout_s=5),
        rig.host.run_in(process, ("true",)), rig.host.freeze(foreign), rig.host.kill_cgroup(foreign),
        rig.host.remove_cgroup(foreign), rig.host.create_cgroup(f"{rig.cgroup}/../other"),
        rig.host.kill_cgroup("/"), rig.host.freeze(f"{rig.cgroup}x"), rig.host.pids_in("/docker"),
    ):
        with pytest.raises(HostError):
            await act
    assert (await rig.engine.inspect(state.id)).running


async def test_i9_a_labelled_container_elsewhere_is_ours(rig: Rig) -> None:
    state = await rig.engine.start(await rig.engine.create(replace(rig.spec(), cgroup_parent="")))
    process = await rig.host.identify(state.pid)
    assert (await rig.host.exec_in_container(process, ("true",), timeout_s=10)).exit_code == 0
    await rig.host.signal(process, SIGKILL)
    assert (await rig.ended(state.id)).exit_code == 137


@pytest.mark.engine
async def test_i9_a_process_of_this_machine_is_left_alone(docker: Rig) -> None:
    for pid in (1, os.getpid()):
        process = await docker.host.identify(pid)
        with pytest.raises(HostError):
            await docker.host.signal(process, 0)
    for argv in (("ip", "link", "set", "lo", "down"), ("nft", "flush", "ruleset"), ("iptables", "-F"), ("sh", "-c"),
                 ("ip", "ntable", "change", "name", "arp_cache", "dev", "eth0", "mcast_probes", "130")):
        with pytest.raises(HostError):
            await docker.host.run(argv)
    assert (await docker.host.run(("ip", "route", "show"))).exit_code == 0
    assert (await docker.host.run(("ip", "-br", "link", "show"))).exit_code == 0
