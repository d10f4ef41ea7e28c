"""The program that health checks run inside of containers (compose/images/healthcheck), put where engines mount it
from."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EngineUnavailable, EnvironmentProblem, NoSuchImage
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.factory import open_supervising_engine
from testbed.runtime.supervision import SupervisingEngine

log = logging.getLogger("supervisor")

CHECK_IMAGE = "testbed-healthcheck:1"
_AGAIN_S = 0.25


def check_file(instance: Instance) -> Path:
    return instance.directory / "healthcheck"


async def provide_check(instance: Instance) -> None:
    """Takes it out of its image, by the machine's own engine; waits for that as long as it takes.

    Raises: EnvironmentProblem (its image is missing, or it cannot be written), EngineError.
    """
    engine = open_supervising_engine(instance.engine_url)
    try:
        while True:
            try:
                await fetch_check(engine, instance)
                return
            except EngineUnavailable as error:
                log.info("%s", error)
                await asyncio.sleep(_AGAIN_S)
    finally:
        await engine.close()


async def fetch_check(engine: SupervisingEngine, instance: Instance) -> None:
    """Raises: EnvironmentProblem (its image is missing, or it cannot be written), EngineError, EngineUnavailable."""
    target = check_file(instance)
    if target.exists():
        return
    spec = ContainerSpec(
        name=f"testbed-{instance.id}_healthcheck", image=CHECK_IMAGE,
        labels={labels.INSTANCE: instance.id, labels.INSTANCE_NAME: instance.name, labels.ROLE: labels.ROLE_HELPER})
    try:
        container = await engine.create(spec)
    except NoSuchImage as error:
        raise EnvironmentProblem(f"image {CHECK_IMAGE} is missing", hint="build it: testbed setup") from error
    try:
        content = await engine.read_file(container, "/check")
    finally:
        await engine.remove(container)
    temporary = target.with_suffix(".new")
    try:
        temporary.write_bytes(content)
        temporary.chmod(0o755)
        temporary.replace(target)
    except OSError as error:
        raise EnvironmentProblem(f"the program for health checks cannot be written to {target}: {error.strerror}",
                                 hint="free some space there, or change who may write") from error
