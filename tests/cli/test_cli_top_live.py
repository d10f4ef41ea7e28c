"""``testbed top`` as a program: on a pipe, and on a real terminal through the loss of the control plane."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest
from support.page_world import PageWorld, run_status
from top_pictures import NOW, filled, picture_of

from testbed.cli.top_live import as_text


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return filled(tmp_path)


async def run_top(world: PageWorld, *arguments: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testbed", "top", "--name", "instance", *arguments, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment(world) | env)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


def environment(world: PageWorld) -> dict[str, str]:
    return os.environ | {"XDG_STATE_HOME": str(world.instance.directory.parent.parent), "TERM": "xterm-256color"}


async def test_a_pipe_gets_one_picture_without_colours(world: PageWorld) -> None:
    world.experiment("crash-1", run_status(8))
    async with world.serving():
        code, out, err = await run_top(world)
    assert (code, err) == (0, "")
    assert "\x1b" not in out and "3 of 3 nodes ready" in out and "crash (crash-1)" in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]
    assert out.count("web-") >= 6


async def test_one_picture_of_a_cluster_that_does_not_answer_or_is_not_there_is_an_error(world: PageWorld) -> None:
    code, out, err = await run_top(world, "--once")
    assert (code, out) == (4, "") and err.startswith("error: the control plane does not answer")
    code, out, err = await run_top(world, "--once", TESTBED_NAME="x", XDG_STATE_HOME="/nowhere")
    assert code == 4 and "is not up" in err


class Screen:
    """A terminal of 40 rows and 120 columns that a program runs in."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor, self._seen = pid, descriptor, ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            self._seen += os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._descriptor)

    async def shows(self, text: str) -> None:
        """Waits for it to be drawn anew."""
        self._seen = ""
        for _ in range(600):
            if text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{text!r} was not shown; last: {self._seen[-2000:]}")

    def press(self, key: str) -> None:
        os.write(self._descriptor, key.encode())

    async def ended(self) -> int:
        for _ in range(400):
            pid, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            await asyncio.sleep(0.05)
        raise AssertionError("it did not end")

    @property
    def all(self) -> str:
        return self._seen


@contextmanager
def terminal(world: PageWorld) -> Iterator[Screen]:
    pid, descriptor = pty.fork()
    if pid == 0:
        ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execvpe(sys.executable, [sys.executable, "-m", "testbed", "top", "--name", "instance"], environment(world))
    screen = Screen(pid, descriptor)
    try:
        yield screen
    finally:
        if screen.pid:
            os.kill(screen.pid, signal.SIGKILL)
            os.waitpid(screen.pid, 0)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_a_terminal_is_kept_up_until_q_through_the_loss_of_the_control_plane(world: PageWorld) -> None:
    with terminal(world) as screen:
        await screen.shows("the control plane is away")
        async with world.serving():
            await screen.shows("6 of 6 pods ready")
            world.pod("web-3", "node-3", ready=False, restarts=4, waiting="CrashLoopBackOff")
            await screen.shows("CrashLoopBackOff")
        await screen.shows("the control plane is away")
        world.pod("web-3", "node-3", restarts=5)
        async with world.serving():
            await screen.shows("6 of 6 pods ready")
            screen.press("xq")
            assert await screen.ended() == 0
    assert {"\x1b[?1049l", "\x1b[?25h"} <= set(re.findall(r"\x1b\[[?0-9]*[a-z]", screen.all[-40:]))  # as it was before


async def test_ctrl_c_ends_it_as_q_does(world: PageWorld) -> None:
    async with world.serving():
        with terminal(world) as screen:
            await screen.shows("6 of 6 pods ready")
            screen.press("\x03")
            assert await screen.ended() == 0


def test_colours_are_only_there_where_they_are_wanted(world: PageWorld) -> None:
    assert "\x1b[" in as_text(picture_of(world), NOW, width=100, color=True)
    assert "\x1b" not in as_text(picture_of(world), NOW, width=100, color=False)
