"""The chaos daemon as a process: ``python -m faults --instance DIR``.

``--undo ID`` undoes one injection by the ledger and ends: for holders that may not act themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.daemon import ChaosDaemon
from faults.opening import daemon_of
from testbed.api.instance import load_instance
from testbed.errors import TestbedError

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
        await _until_told(daemon)
        return 0


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
