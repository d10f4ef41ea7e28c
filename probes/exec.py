"""Probe kind ``exec``: a program inside the target that exits with 0 is success.

A time-out is a failure, and so is a target that is frozen; only a program that could not be run is an error.
Source: kubernetes pkg/probe/exec/exec.go (ExecProbeTimeout on).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from probes.protocol import Outcome, ProbeTarget, Sample
from testbed.errors import TestbedError


class ExecProbe:
    """Fields: ``command``, a list."""

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        argv = tuple(str(item) for item in fields.get("command") or ())
        if target.run is None or not argv:
            return Sample(Outcome.ERROR, "there is nothing to run here")
        try:
            result = await target.run(argv, timeout_s)
        except TimeoutError:
            return Sample(Outcome.FAILURE, f"command timed out after {timeout_s:g}s", loop.time() - begun)
        except TestbedError as error:
            return Sample(Outcome.ERROR, error.message, loop.time() - begun)
        if result.exit_code == 0:
            return Sample(Outcome.SUCCESS, "", loop.time() - begun)
        return Sample(Outcome.FAILURE, f"command exited with code {result.exit_code}", loop.time() - begun)
