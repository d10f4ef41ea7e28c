"""Host acts of a user who is not root: through the helper container; and what happens when a helper dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engine_rig import Rig, docker_rig, eventually, groups_of, needs_root

from testbed.api import labels as keys
from testbed.errors import HostError
from testbed.runtime.host import LinuxHost
from testbed.runtime.host_protocol import ProcessIdentity

pytestmark = pytest.mark.engine
SIGKILL = 9
ROOT = Path(__file__).parents[2]
SOCKET = Path("/var/run/docker.sock")
GROUP = SOCKET.stat().st_gid if SOCKET.exists() else 0


@pytest.fixture
async def helped() -> AsyncIterator[Rig]:
    """A rig whose host acts through the helper container, whoever runs the tests."""
    async with docker_rig() as rig:
        await rig.host.close()
        rig.host = LinuxHost(rig.id, rig.engine, in_process=False)
        try:
            yield rig
        finally:
            await rig.host.close()


async def _process(rig: Rig, *command: str) -> tuple[str, ProcessIdentity]:
    state = await rig.started(*command)
    return state.id, await rig.host.identify(state.pid)


async def test_acts_through_the_helper(helped: Rig) -> None:
    container, process = await _process(helped)
    cgroup = await helped.host.cgroup_of(process)
    result = await helped.host.exec_in_container(process, ("sh", "-c", "echo hello; exit 4"), timeout_s=10)
    assert (result.exit_code, result.output) == (4, b"hello\n")
    with pytest.raises(TimeoutError):
        await helped.host.exec_in_container(process, ("sleep", "1000"), timeout_s=0.2)
    assert (await helped.host.run_in(process, ("ip", "link", "show"))).exit_code == 0
    assert (await helped.host.run(("ip", "route", "show"))).exit_code == 0
    await helped.host.freeze(cgroup)
    assert await helped.host.frozen(cgroup)
    await helped.host.thaw(cgroup)
    await helped.host.create_cgroup(f"{helped.cgroup}/node/agent")
    _, guest = await _process(helped)
    await helped.host.join_cgroup(cgroup, guest.pid)
    assert groups_of(guest.pid) == {cgroup}
    watching = asyncio.create_task(helped.host.wait_exit(process))
    await asyncio.sleep(0)
    await helped.host.signal(process, SIGKILL)
    assert await watching > 0
    assert (await helped.ended(container)).exit_code == 137
    await helped.host.kill_cgroup(f"{helped.cgroup}/node")
    await helped.host.remove_cgroup(f"{helped.cgroup}/node")
    (helper,) = await helped.engine.list(helped.labels | {keys.ROLE: keys.ROLE_HELPER})
    assert helper.running


async def test_i9_the_helper_keeps_the_guard(helped: Rig) -> None:
    stranger = helped.spec(labels={"testbed.io/instance": helped.id[::-1]}, cgroup_parent="")
    state = await helped.engine.start(await helped.engine.create(stranger))
    helped.others.append(state.id)
    process = await helped.host.identify(state.pid)
    for act in (
        helped.host.signal(process, SIGKILL), helped.host.exec_in_container(process, ("true",), timeout_s=5),
        helped.host.freeze(await helped.host.cgroup_of(process)), helped.host.kill_cgroup("/docker"),
        helped.host.run(("ip", "link", "set", "lo", "down")),
        helped.host.signal(await helped.host.identify(os.getpid()), 0),
    ):
        with pytest.raises(HostError):
            await act
    assert (await helped.engine.inspect(state.id)).running


async def test_a_helper_that_died_is_started_again(helped: Rig) -> None:
    _, process = await _process(helped)
    assert (await helped.host.exec_in_container(process, ("true",), timeout_s=10)).exit_code == 0
    (helper,) = await helped.engine.list(helped.labels | {keys.ROLE: keys.ROLE_HELPER})
    await helped.engine.remove(helper.id)

    async def works() -> bool:
        with contextlib.suppress(HostError):
            return (await helped.host.exec_in_container(process, ("true",), timeout_s=1)).exit_code == 0
        return False

    await eventually("the helper works again", works)


@needs_root
async def test_a_local_helper_that_died_is_started_again_and_leaves_nothing(docker: Rig) -> None:
    _, process = await _process(docker)
    assert (await docker.host.exec_in_container(process, ("true",), timeout_s=10)).exit_code == 0
    assert isinstance(docker.host, LinuxHost)
    transport = docker.host._channel._transport
    helper = transport._process  # type: ignore[attr-defined]
    running = asyncio.create_task(docker.host.exec_in_container(process, ("sleep", "1000"), timeout_s=60))
    cgroup = await docker.host.cgroup_of(process)

    async def begun() -> bool:
        return len(await docker.host.pids_in(cgroup)) > 1

    await eventually("the program runs", begun)
    helper.kill()
    with pytest.raises(HostError):
        await running

    async def alone() -> bool:
        return await docker.host.pids_in(cgroup) == (process.pid,)

    await eventually("what it had started has ended with it", alone)
    assert (await docker.host.exec_in_container(process, ("true",), timeout_s=10)).exit_code == 0


@needs_root
async def test_row_26_many_forking_probes_leave_no_zombies(docker: Rig) -> None:
    state = await docker.started(init=True)
    process = await docker.host.identify(state.pid)
    for _ in range(10):
        results = await asyncio.gather(*(
            docker.host.exec_in_container(process, ("sh", "-c", "true & true; exit 0"), timeout_s=30)
            for _ in range(20)
        ))
        assert {result.exit_code for result in results} == {0}
    cgroup = await docker.host.cgroup_of(process)

    async def settled() -> bool:
        return len(await docker.host.pids_in(cgroup)) <= 2  # init and its child

    await eventually("nothing is left of the probes", settled)


_UNPRIVILEGED = """
import asyncio, json, sys
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host import may_act_in_process
async def main():
    engine = open_engine()
    host = open_host(sys.argv[1], engine)
    state = await engine.inspect(sys.argv[2])
    process = await host.identify(state.pid)
    result = await host.exec_in_container(process, ("echo", "hello"), timeout_s=20)
    await host.freeze(await host.cgroup_of(process))
    frozen = await host.frozen(await host.cgroup_of(process))
    await host.thaw(await host.cgroup_of(process))
    await host.signal(process, 9)
    await host.wait_exit(process)
    print(json.dumps([may_act_in_process(), result.output.decode(), frozen, await host.alive(process)]))
    await host.close()
    await engine.close()
asyncio.run(main())
"""


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is needed to become another user")
async def test_a_member_of_the_engines_group_can_do_all_of_it(docker: Rig) -> None:
    state = await docker.started()
    if not GROUP:
        pytest.skip("the engine's socket has no group of its own")
    if not all(folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents)):
        pytest.skip("other users cannot read this checkout (it lies in root's home)")
    done = await asyncio.create_subprocess_exec(
        "setpriv", "--reuid", "65534", "--regid", "65534", "--groups", str(GROUP), sys.executable, "-c", _UNPRIVILEGED,
        docker.id, state.id, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env=os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    output, errors = await done.communicate()
    if b"Permission denied" in errors and b"python" in errors:
        pytest.skip("this interpreter cannot be read by other users")
    assert done.returncode == 0, errors.decode()
    assert json.loads(output) == [False, "hello\n", True, False]
