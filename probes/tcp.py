"""Probe kind ``tcp``: a connection that opens is success.

Source: kubernetes pkg/probe/tcp/tcp.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from probes.ports import NoSuchPort, port_number
from probes.protocol import Outcome, ProbeTarget, Sample
from probes.sockets import connect, drop, words


class TcpProbe:
    """Fields: ``port`` and ``host`` (default: the target)."""

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            port = port_number(fields.get("port", 0), target.ports)
        except NoSuchPort as error:
            return Sample(Outcome.ERROR, str(error))
        host = str(fields.get("host") or target.address)
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await connect(host, port)
            drop(writer)
        except TimeoutError:
            return Sample(Outcome.FAILURE, f"dial tcp {host}:{port}: i/o timeout", loop.time() - begun)
        except OSError as error:
            return Sample(Outcome.FAILURE, words(error, host, port), loop.time() - begun)
        return Sample(Outcome.SUCCESS, "", loop.time() - begun)
