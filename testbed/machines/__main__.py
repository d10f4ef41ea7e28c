"""``python -m testbed.machines --instance DIR``: the machine room of one cluster, until SIGTERM (the cluster goes on)
or until it is told to take the cluster down."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

from testbed.api.instance_files import load_instance
from testbed.api.process_logs import configure
from testbed.errors import TestbedError
from testbed.machines.processes import child_environment, record_room
from testbed.machines.room import Room
from testbed.machines.room_service import serve
from testbed.runtime.factory import open_engine
from testbed.runtime.host import may_act_in_process, open_host
from testbed.runtime.protocol import Engine


class EngineWhenNeeded:
    """Opens the engine at its first use: as root the room never needs it, and then never carries its SDK."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None

    def __getattr__(self, name: str) -> Any:
        if self._engine is None:
            self._engine = open_engine(self._url)
        return getattr(self._engine, name)


async def run(directory: Path, owner: tuple[int, int] | None) -> None:
    instance = load_instance(directory)
    host = open_host(instance.id, cast(Engine, EngineWhenNeeded(instance.engine_url)))
    room = Room(instance, host, root=may_act_in_process(), environment=child_environment())
    try:
        await serve(room, owner=owner)
    finally:
        await host.close()


def remembered_owner(file: Path, told: str | None) -> tuple[int, int] | None:
    """Pid and start ticks of the owner; a room that is started again after its death still knows it."""
    if told:
        file.write_text(told)
    try:
        pid, _, ticks = file.read_text().partition(":")
        return int(pid), int(ticks)
    except (OSError, ValueError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.machines", description="the machine room of one cluster")
    parser.add_argument("--instance", required=True, type=Path)
    parser.add_argument("--owner", help="PID:START_TICKS of the process with which the cluster ends")
    arguments = parser.parse_args()
    configure("room")
    try:
        record_room(arguments.instance, os.getpid())
        asyncio.run(run(arguments.instance, remembered_owner(arguments.instance / "owner", arguments.owner)))
    except (TestbedError, OSError) as error:
        logging.getLogger("room").error("machine room: %s", error)
        sys.exit(getattr(error, "exit_code", 4))


if __name__ == "__main__":
    main()
