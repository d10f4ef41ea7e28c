"""``testbed doctor``: what this machine can do, one check a line, each "no" with the one line that mends it.

Every check looks for itself and changes nothing; a check that cannot be made says so instead of failing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from testbed.errors import NoSuchImage, TestbedError
from testbed.machines.setup import missing_tools
from testbed.runtime.factory import open_engine
from testbed.runtime.images import Images
from testbed.runtime.recipes import OWN_BASE, PUBLIC_BASE, RECIPES
from testbed.runtime.trial import ABILITIES
from testbed.runtime.trial import abilities as abilities_of

FREE_DISK_MB = 2048  # what images, logs and runs need


@dataclass(frozen=True)
class Check:
    """One line. ``ok``: None when it could not be found out. ``required``: ``testbed up`` needs it. ``ability``: its
    name in `testbed.runtime.trial`, for those which faults need."""

    name: str
    ok: bool | None
    found: str
    mend: str = ""
    required: bool = False
    ability: str = ""


def examine(url: str = "") -> tuple[Check, ...]:
    """All checks, in the order in which they are shown. Takes a second or two: some run a container."""
    try:
        images = Images(url)
    except TestbedError as error:
        return (Check("engine", False, error.message, error.hint, required=True), *_host_checks(engine=False))
    with images:
        return (*_engine_checks(images), *_host_checks(engine=True), *_ability_checks(url), *_image_checks(images))


def healthy(checks: tuple[Check, ...]) -> bool:
    """Whether everything that ``testbed up`` needs is there."""
    return all(check.ok for check in checks if check.required)


def _engine_checks(images: Images) -> Iterator[Check]:
    version = images.version()
    recent = tuple(int(part) for part in version.version.split(".")[:2] if part.isdigit()) >= (20, 10)
    yield Check("engine", recent, f"{version.version} (API {version.api_version}), kernel {version.kernel}",
                "" if recent else "install Docker Engine 20.10 or newer", required=True)
    known = version.cgroup_version in (1, 2)
    yield Check("cgroups", known, f"version {version.cgroup_version}, driver {version.cgroup_driver}",
                "" if known else "boot with cgroup version 1 or 2", required=True)


def _host_checks(*, engine: bool) -> Iterator[Check]:
    yield _host_acts(engine)
    yield _pidfd()
    yield _ports()
    yield _disk()


def _host_acts(engine: bool) -> Check:
    if os.geteuid() == 0:
        missing = missing_tools()
        if not missing:
            return Check("host acts", True, "in process (root)", required=True)
        return Check("host acts", False, "in process (root), but without " + ", ".join(missing),
                     "apt-get install " + " ".join(sorted(set(missing.values()))), required=True)
    if engine:
        return Check("host acts", True, "through the helper container", required=True)
    return Check("host acts", False, "neither root nor an engine for the helper container",
                 "start the engine, and join its group: sudo usermod -aG docker $USER", required=True)


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return Check("pidfd", False, f"{error}: deaths are seen by engine events, 30 ms later",
                     "boot a kernel 5.3 or newer")
    return Check("pidfd", True, "deaths are seen within a millisecond")


def _ports() -> Check:
    held = []
    try:
        for _ in range(20):
            listener = socket.socket()
            held.append(listener)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
    except OSError as error:
        return Check("ports", False, f"127.0.0.1 cannot be listened on: {error}", "ip link set lo up", required=True)
    finally:
        for listener in held:
            listener.close()
    return Check("ports", True, "20 of 20 on 127.0.0.1 could be opened", required=True)


def _disk() -> Check:
    free_mb = disk_usage(Path.home()).free >> 20
    enough = free_mb >= FREE_DISK_MB
    return Check("disk", enough, f"{free_mb / 1024:.1f} GiB free", "" if enough else "free 2 GiB", required=True)


def _ability_checks(url: str) -> Iterator[Check]:
    """What faults need of kernel and engine: each is tried."""
    abilities, problem = _tried(url)
    for ability in ABILITIES.values():
        required = ability.name == "nft"
        if abilities is None:
            yield Check(ability.title, None, problem, "run: testbed setup", required, ability.name)
        else:
            has = abilities[ability.name]
            yield Check(ability.title, has, f"works: {ability.what}" if has else "does not work here",
                        "" if has else ability.mend, required, ability.name)


def _tried(url: str) -> tuple[dict[str, bool] | None, str]:
    async def ask() -> dict[str, bool]:
        engine = open_engine(url)
        try:
            return await abilities_of(engine)
        finally:
            await engine.close()

    try:
        return asyncio.run(ask()), ""
    except NoSuchImage:
        return None, "cannot be tried without the image testbed-nettools:1"
    except TestbedError as error:
        return None, error.message[:100]


def _image_checks(images: Images) -> Iterator[Check]:
    base = next((tag for tag in (PUBLIC_BASE, OWN_BASE) if images.present(tag)), "")
    missing = images.missing()
    yield Check("base image", bool(base), base or "none", "" if base else "run: testbed setup",
                required=bool(missing))
    absent = {recipe.tag for recipe in missing if not images.present(recipe.tag)}
    stale = {recipe.tag for recipe in missing} - absent
    told = [f"{word}: {', '.join(sorted(tags))}" for word, tags in (("missing", absent), ("stale", stale)) if tags]
    yield Check("images", not missing, "; ".join(told) or f"all {len(RECIPES)} built",
                "run: testbed setup" if missing else "", required=True)
