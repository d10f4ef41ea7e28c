"""The driver's process: ``python -m testbed.supervisors --instance DIR``. Which driver, the instance says.

It may be killed at any moment and started again: what is wanted is in the API, what is so is in the orchestrator. The
orchestrator goes on without it. Exits 0 on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import random
import signal
import sys
from pathlib import Path

from testbed.api.clock import SystemClock
from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance
from testbed.api.process_logs import configure
from testbed.client.aio import HttpClient
from testbed.client.events import EventRecorder
from testbed.errors import TestbedError
from testbed.supervisors.catalog import supervisor
from testbed.supervisors.logs import LogServer
from testbed.supervisors.mirror import Mirror
from testbed.supervisors.protocol import OpenDriver
from testbed.supervisors.wishes import Wishes


async def run(instance: Instance) -> None:
    """Until SIGTERM or SIGINT. Raises: TestbedError for what no waiting mends."""
    clock, draw = SystemClock(), random.Random(f"{instance.id} driver")
    open_driver: OpenDriver = importlib.import_module(
        f"{supervisor(instance.supervisor).package}.driver").open_driver
    client = HttpClient.of_instance(instance)
    recorder = EventRecorder(client, instance.supervisor, clock, random=draw)
    wishes = Wishes(client, draw)
    mirror = Mirror(instance, client, recorder, wishes, clock)
    logs = LogServer(instance, wishes, clock)
    await logs.start()
    driver = asyncio.create_task(_drive(open_driver, instance, wishes, mirror))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, driver.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await driver
    finally:
        await logs.close()
        await recorder.close()
        await client.close()


async def _drive(open_driver: OpenDriver, instance: Instance, wishes: Wishes, mirror: Mirror) -> None:
    async with wishes.followed():
        await open_driver(instance, wishes, mirror).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.supervisors", description=__doc__)
    parser.add_argument("--instance", required=True, type=Path, help="the instance's state directory")
    arguments = parser.parse_args()
    configure("driver")
    try:
        asyncio.run(run(load_instance(arguments.instance)))
    except TestbedError as error:
        logging.getLogger("supervisor").error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
