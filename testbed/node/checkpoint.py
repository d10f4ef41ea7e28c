"""What an agent remembers beyond its own death: back-offs and which pod address was given last.

One small file, written whole by rename. Times in it are monotonic, so they hold on the same boot only. Losing it kills
nothing: back-offs are then rebuilt from the attempts in labels.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Collection
from pathlib import Path

from testbed.core.backoff import BackoffEntry
from testbed.errors import EnvironmentProblem

log = logging.getLogger("testbed.node")
_FIRST = 2  # of a node's range; .0 and .1 are left alone


class Checkpoint:
    def __init__(self, path: Path, boot_id: str) -> None:
        self._path, self._boot_id = path, boot_id
        self.backoffs: dict[str, dict[str, BackoffEntry]] = {}
        self.cursor = 0
        self._read()

    def _read(self) -> None:
        try:
            value = json.loads(self._path.read_text())
            self.cursor = int(value["cursor"])
            if value["boot"] == self._boot_id:
                self.backoffs = {
                    uid: {
                        name: BackoffEntry(float(delay), float(at), int(attempt))
                        for name, (delay, at, attempt) in entries.items()
                    }
                    for uid, entries in value["backoffs"].items()
                }
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s is not readable and is started anew: %s", self._path, error)

    def remember(self, uid: str, name: str, entry: BackoffEntry) -> None:
        self.backoffs.setdefault(uid, {})[name] = entry
        self._write()

    def forget(self, uid: str) -> None:
        if self.backoffs.pop(uid, None) is not None:
            self._write()

    def next_address(self, cidr: str, used: Collection[str]) -> str:
        """The next free address after the one given last: one that was just freed comes back as late as possible,
        so that nobody who still remembers it reaches the wrong pod.

        Raises: EnvironmentProblem when none is free.
        """
        network = ipaddress.IPv4Network(cidr)
        size = network.num_addresses - _FIRST - 1
        for step in range(size):
            index = (self.cursor + step) % size
            address = str(network[_FIRST + index])
            if address not in used:
                self.cursor = (index + 1) % size
                self._write()
                return address
        raise EnvironmentProblem(f"no pod address is free in {cidr}")

    def _write(self) -> None:
        value = {
            "boot": self._boot_id, "cursor": self.cursor,
            "backoffs": {
                uid: {name: [entry.delay_s, entry.updated_s, entry.attempt] for name, entry in entries.items()}
                for uid, entries in self.backoffs.items()
            },
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(value))
            temporary.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)
