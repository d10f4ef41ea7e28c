"""Holds one injection in force from inside a target's namespaces: ``hold.py hold|clear PROGRAM PLAN``.

PROGRAM is a module beside this file. It has two functions: ``hold(plan, ready, over)`` brings the effect about, calls
``ready(words)`` when it is in force, serves it until ``over`` and takes it back; ``clear(plan)`` takes back what a
``hold`` that was killed may have left, and is harmless when there is nothing. PLAN is JSON with ``id`` and
``deadline_ns`` (CLOCK_MONOTONIC). It is over when SIGTERM comes, or a little after the deadline: whoever started this
takes it back at the deadline itself when it still can. Standard library only.
"""

import importlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

SPARE_S = 0.25


class Over:
    """Whether it is over. ``fileno`` becomes readable when SIGTERM comes, for loops that wait for other things too."""

    def __init__(self, deadline_ns):
        self.deadline_s = deadline_ns / 1e9 + SPARE_S if deadline_ns else float("inf")
        self.told = False
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)

    def _tell(self, number, frame):
        self.told = True

    def __call__(self):
        return self.told or self.left_s() <= 0

    def left_s(self):
        return max(0.0, self.deadline_s - time.monotonic())

    def fileno(self):
        return self._reader

    async def ended(self):
        """``wait`` for a program with an event loop."""
        import asyncio  # most programs have none, and begin sooner without it

        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.fileno(), told.set)
        try:
            async with asyncio.timeout(self.left_s() if self.deadline_s != float("inf") else None):
                await told.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self.fileno())

    def wait(self, at_most_s=float("inf")):
        """Returns when it is over or the time has passed."""
        until = min(self.deadline_s, time.monotonic() + at_most_s)
        while not self.told and (left := until - time.monotonic()) > 0:
            select.select([self._reader], [], [], min(left, 3600.0))


def ready(words):
    sys.stdout.write(f"in force: {words}\n")
    sys.stdout.flush()


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in ("hold", "clear"):
        sys.stderr.write(__doc__)
        return 2
    verb, name, text = arguments
    plan = json.loads(text)
    sys.path.insert(0, str(Path(__file__).parent))
    program = importlib.import_module(name)
    try:
        if verb == "hold":
            program.hold(plan, ready, Over(plan["deadline_ns"]))
        else:
            program.clear(plan)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        if verb == "hold":
            program.clear(plan)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
