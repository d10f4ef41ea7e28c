"""The chaos daemon as a process: ``python -m faults --instance DIR``.

``--undo ID`` undoes one injection by the ledger and ends: for holders that may not act themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.daemon import ChaosDaemon
from faults.opening import daemon_of
from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance
from testbed.api.process_logs import configure
from testbed.errors import EnvironmentProblem, TestbedError

log = logging.getLogger("chaos")

_UNDO_WITHIN_S = 60.0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description="The chaos daemon of one cluster.")
    parser.add_argument("--instance", required=True, type=Path, help="the cluster's state directory")
    parser.add_argument("--undo", default="", metavar="ID", help="undo this injection and end")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> int:
    async with daemon_of(load_instance(options.instance)) as daemon:
        if options.undo:
            async with asyncio.timeout(_UNDO_WITHIN_S):
                return 0 if await daemon.undo(options.undo) else 8
        with _the_only_one(load_instance(options.instance)):
            await _until_told(daemon)
        return 0


@contextlib.contextmanager
def _the_only_one(instance: Instance) -> Iterator[None]:
    """Two daemons would each inject what the other one has undone. Raises: EnvironmentProblem."""
    with (instance.directory / "chaos.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentProblem(f"another chaos daemon of cluster {instance.name} runs",
                                     hint="the machine room starts it: nobody else has to") from error
        yield


async def _until_told(daemon: ChaosDaemon) -> None:
    """Runs until SIGTERM or SIGINT; what is in effect stays, with its holders."""
    running = asyncio.create_task(daemon.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(sys.argv[1:] if argv is None else argv)
    configure("chaos/undo" if options.undo else "chaos")
    try:
        return asyncio.run(_run(options))
    except TestbedError as error:
        log.error("%s", error)
        return error.exit_code
    except TimeoutError:
        log.error("the undo did not end in time; the daemon and the holders go on trying")
        return 8


if __name__ == "__main__":
    raise SystemExit(main())
