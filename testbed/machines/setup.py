"""``testbed setup``: does what is missing on this machine, and nothing twice.

Decides the order: an engine that answers, the tools that faults need, a base image, our images. Each part says itself
whether it is there, so a second run finds nothing to do and ends within a second.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import which

from testbed.api.instance_files import state_root
from testbed.machines.engine import LOG, booted_with_systemd, debian, ensure_engine, install_packages, processes_named
from testbed.machines.narration import Narrator
from testbed.runtime.images import Images
from testbed.runtime.recipes import OWN_BASE, PUBLIC_BASE

# program on this machine -> Debian package; what host acts use when we are root
HOST_TOOLS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "iptables": "iptables", "nsenter": "util-linux"}


@dataclass(frozen=True)
class SetUp:
    """What was done. ``built``: tags of images that were built now. ``stays``: what goes on running, in words."""

    engine_started: bool
    installed: tuple[str, ...]
    built: tuple[str, ...]
    stays: str = ""

    @property
    def changed(self) -> bool:
        return bool(self.engine_started or self.installed or self.built)


def set_up(narrator: Narrator) -> SetUp:
    """Brings this machine to where ``testbed up`` works.

    Raises: EnvironmentProblem with the one line that says what a person must do.
    """
    with _only_one(narrator):
        started = ensure_engine(narrator)
        try:
            installed = _tools(narrator)
            with Images() as images:
                installed += _mmdebstrap(images, narrator)
                built = _images(images, narrator)
        except BaseException:
            if started:
                narrator.say(_stays())
            raise
    return SetUp(started, installed, built, _stays() if started else "")


def _stays() -> str:
    if booted_with_systemd():
        return "the container engine stays on; to end it: systemctl stop docker docker.socket"
    pids = processes_named("dockerd")
    return f"the container engine stays on (dockerd, log: {LOG}); to end it: kill {pids[0] if pids else 'dockerd'}"


def missing_tools() -> dict[str, str]:
    """Programs that host acts of root need and this machine lacks, with the Debian package of each."""
    return {tool: package for tool, package in HOST_TOOLS.items() if which(tool) is None}


def _tools(narrator: Narrator) -> tuple[str, ...]:
    packages = tuple(sorted(set(missing_tools().values()))) if os.geteuid() == 0 and debian() else ()
    if packages:
        install_packages(packages, narrator)
    return packages


def _mmdebstrap(images: Images, narrator: Narrator) -> tuple[str, ...]:
    """The tool that makes a base image, where one will have to be made."""
    if not images.missing() or images.present(PUBLIC_BASE) or images.present(OWN_BASE) or which("mmdebstrap"):
        return ()
    if os.geteuid() != 0 or not debian():
        return ()  # a registry may have the base; otherwise ``Images.base`` says what to install
    with narrator.task(f"looking for {PUBLIC_BASE}"):
        if images.pull(PUBLIC_BASE):
            return ()
    packages = ("mmdebstrap", "debian-archive-keyring")  # the keyring is Debian's own; Ubuntu lacks it
    install_packages(packages, narrator)
    return packages


def _images(images: Images, narrator: Narrator) -> tuple[str, ...]:
    missing = images.missing()
    if not missing:
        return ()
    with narrator.task("base image") as task:
        base = images.base(task.update)
    for recipe in missing:
        with narrator.task(f"image {recipe.tag}") as task:
            images.build(recipe, base, task.update)
    return tuple(recipe.tag for recipe in missing)


@contextmanager
def _only_one(narrator: Narrator) -> Iterator[None]:
    """One set-up at a time: two of them would start two engines."""
    root = state_root()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            narrator.say("another set-up is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
