"""The chaos daemon as a process: ``python -m faults --instance DIR``.

``--undo ID`` and ``--undo-all`` undo one injection or all of them by the ledger and end: for holders that may not
act themselves, and for taking a cluster down.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.abilities import Tried
from faults.daemon import ChaosDaemon
from faults.deferred import engine_and_host
from faults.holders import ProcessHolders
from faults.ledger import Ledger
from faults.protocol import Site
from testbed.api.clock import SystemClock
from testbed.api.instance import Instance, load_instance
from testbed.client.aio import HttpClient
from testbed.errors import TestbedError
from testbed.machines.client import RoomClient

_UNDO_WITHIN_S = 60.0


def site_of(instance: Instance) -> Site:
    return Site(instance.id, instance.directory, instance.cgroup, f"https://127.0.0.1:{instance.api_port}",
                str(instance.room_socket), instance.name)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description="The chaos daemon of one cluster.")
    parser.add_argument("--instance", required=True, type=Path, help="the cluster's state directory")
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--undo", default="", metavar="ID", help="undo this injection and end")
    act.add_argument("--undo-all", action="store_true", help="undo everything that is in effect and end")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> int:
    instance = load_instance(options.instance)
    engine, host = engine_and_host(instance.id, instance.engine_url)
    client = HttpClient.of_instance(instance)
    ledger = Ledger(instance.ledger)
    daemon = ChaosDaemon(
        client, engine, host, RoomClient(instance.room_socket), ledger, SystemClock(),
        random.Random(f"{instance.id} chaos"), site=site_of(instance), holders=ProcessHolders(instance.directory),
        abilities=Tried(engine),
    )
    try:
        if options.undo or options.undo_all:
            async with asyncio.timeout(_UNDO_WITHIN_S):
                return 0 if await daemon.undo(options.undo) else 8
        await _until_told(daemon)
        return 0
    finally:
        await client.close()
        await host.close()
        await engine.close()
        ledger.close()


async def _until_told(daemon: ChaosDaemon) -> None:
    """Runs until SIGTERM or SIGINT; what is in effect stays, with its holders."""
    running = asyncio.create_task(daemon.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        return asyncio.run(_run(options))
    except TestbedError as error:
        sys.stderr.write(f"chaos: {error}\n")
        return error.exit_code
    except TimeoutError:
        sys.stderr.write("chaos: the undo did not end in time; the daemon and the holders go on trying\n")
        return 8


if __name__ == "__main__":
    raise SystemExit(main())
