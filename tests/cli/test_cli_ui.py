"""``testbed ui``: where a browser is opened and where it is not, and what a person is told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from support.page_world import PageWorld

from testbed.cli.ui import fingerprint, why_no_browser


@pytest.mark.parametrize("environ, platform, opens", [
    ({"DISPLAY": ":0"}, "linux", True), ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True), ({}, "darwin", True),
    ({"WSL_DISTRO_NAME": "Debian"}, "linux", True), ({"BROWSER": "firefox"}, "linux", True),
    ({"SSH_CONNECTION": "a b", "BROWSER": "x"}, "linux", True),
    ({"SSH_CONNECTION": "a b", "DISPLAY": ":10"}, "linux", True),
    ({}, "linux", False), ({"SSH_CONNECTION": "a b"}, "linux", False), ({"SSH_CONNECTION": "a b"}, "darwin", False),
])
def test_a_browser_is_opened_where_somebody_would_see_it(environ: dict[str, str], platform: str, opens: bool) -> None:
    assert (why_no_browser(environ, platform) == "") is opens


async def run_ui(world: PageWorld, *arguments: str, **env: str) -> tuple[int, str, str]:
    blank = dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "BROWSER"), "")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testbed", "ui", "--name", "instance", *arguments, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | blank | {"XDG_STATE_HOME": str(world.instance.directory.parent.parent)} | env)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return PageWorld(tmp_path / "testbed")


async def test_print_prints_the_address_alone(world: PageWorld) -> None:
    async with world.serving():
        code, out, err = await run_ui(world, "--print", SSH_CONNECTION="a b")
    assert (code, err) == (0, "")
    assert out.startswith(f"{world.url}/ui/enter?token=") and out.count("\n") == 1


async def test_without_a_screen_it_says_so_and_how_to_get_there(world: PageWorld) -> None:
    async with world.serving():
        code, out, err = await run_ui(world, SSH_CONNECTION="a b")
    assert code == 0 and out.startswith(f"{world.url}/ui/enter?token=")
    port = world.instance.api_port
    assert "this is a session over SSH" in err and f"ssh -L {port}:127.0.0.1:{port}" in err
    assert fingerprint(world.instance.certificate.read_text()) in err and str(world.instance.ca_certificate) in err


async def test_the_browser_gets_the_address_and_the_terminal_does_not(world: PageWorld, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    async with world.serving():
        code, out, err = await run_ui(world, BROWSER=str(browser))
    assert (code, out) == (0, "")
    assert "opened" in err and "token" not in err
    assert (tmp_path / "opened").read_text().startswith(f"{world.url}/ui/enter?token=")


async def test_a_cluster_that_is_not_up_or_does_not_answer_is_named(world: PageWorld) -> None:
    code, out, err = await run_ui(world)
    assert (code, out) == (4, "") and "does not answer" in err and "testbed status" in err
    code, _, err = await run_ui(world, XDG_STATE_HOME="/nowhere")
    assert code == 4 and "is not up" in err and "testbed up" in err
