"""The platform that is virtual time: the same experiment, predicted instead of measured.

The simulation stands on top of everything and nothing imports it, so it is a process of its own
(``python -m testbed.simulation.experiment``) that carries out whole repetitions; here are only its start, the jobs, and
what it answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from testbed import __version__
from testbed.client.protocol import Client
from testbed.core.profile import PROFILES, Profile
from testbed.errors import EnvironmentProblem, InvalidInput, TestbedError, UsageError
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.platforms.profile_words import timing_of
from testbed.experiment.platforms.protocol import ClusterSource, Platform, PulseRun, Timing
from testbed.experiment.result import Environment, RunResult

Json = dict[str, Any]
MODULE = "testbed.simulation.experiment"
LOOK_S = 60.0
REPETITION_S = 600.0  # of real time
_LINE_BYTES = 256 << 20
PREDICTED = "every figure of this platform is predicted by a simulation in virtual time; nothing was measured"


def environment_of_simulation(nodes: int) -> Environment:
    """The machine does not matter: the same seed has the same result on every one."""
    return Environment(testbed_version=__version__, platform="simulation", cluster="virtual time", nodes=nodes,
                       engine="simulated", python=platform.python_version())


class SimulationPlatform:
    """`protocol.RunsAlone`. There is no cluster between repetitions, so nothing can be asked of it."""

    name = "simulation"
    cluster = "virtual time"
    ours = False

    def __init__(self, spec: ClusterSpec, process: asyncio.subprocess.Process) -> None:
        self._spec, self.process = spec, process
        self._one_at_a_time = asyncio.Lock()

    @property
    def profile(self) -> Profile:
        return PROFILES[self._spec.profile]

    def timing(self) -> Timing:
        return (("time", "virtual: predicted, not measured"), *timing_of(self.profile))

    async def environment(self) -> Environment:
        return environment_of_simulation(self._spec.nodes)

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        found = await self._ask({"do": "look", **job_of(loaded)}, LOOK_S)
        return PREDICTED, *map(str, found["notes"])

    async def repetition(self, loaded: LoadedExperiment, *, run_id: str, number: int, folder: Path) -> RunResult:
        job = {"do": "run", "runId": run_id, "number": number, "folder": str(folder), **job_of(loaded)}
        found = await self._ask(job, REPETITION_S)
        try:
            return RunResult.model_validate(found["run"])
        except ValidationError as error:
            raise TestbedError(f"the simulation answered with no result: {str(error).splitlines()[0]}") from error

    async def _ask(self, job: Json, within_s: float) -> Json:
        """Raises: EnvironmentProblem: the process ended or was silent; as `error_of`: it could not do it."""
        async with self._one_at_a_time:
            reader, writer = self.process.stdout, self.process.stdin
            assert reader is not None and writer is not None, "it was started with pipes"
            try:
                async with asyncio.timeout(within_s):
                    writer.write(json.dumps(job).encode() + b"\n")
                    await writer.drain()
                    line = await reader.readline()
            except TimeoutError:
                self.process.kill()  # its answer would be taken for the next one's
                raise EnvironmentProblem(f"the simulation gave no answer within {within_s:g} s") from None
            except asyncio.CancelledError:
                self.process.kill()
                raise
            except OSError:
                line = b""
        if not line:
            raise EnvironmentProblem(f"the simulation ended: {await self._last_words()}")
        found: Json = json.loads(line)
        if "error" in found:
            raise error_of(found)
        return found

    async def _last_words(self) -> str:
        reader = self.process.stderr
        words = b""
        with contextlib.suppress(TimeoutError):
            if reader is not None:
                words = await asyncio.wait_for(reader.read(), 2.0)
        return words.decode("utf-8", "replace").strip().rpartition("\n")[2] or "no word from it"

    # --- what a cluster could be asked

    @property
    def client(self) -> Client:
        self._nothing_there()

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        self._nothing_there()

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        self._nothing_there()

    async def http_get(self, url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str] | str:
        self._nothing_there()

    async def start_pulse(self, arguments: Sequence[str]) -> PulseRun:
        self._nothing_there()

    @staticmethod
    def _nothing_there() -> NoReturn:
        raise EnvironmentProblem("a simulated cluster cannot be reached from here",
                                 hint="this command needs a cluster: --platform testbed")


def error_of(answer: Json) -> TestbedError:
    """What the process could not do, as the error that it was there: with its words, its hint and its exit code."""
    words, hint = f"simulation: {answer['error']}", str(answer.get("hint") or "")
    if answer.get("exitCode") == InvalidInput.exit_code:
        return InvalidInput(words, hint=hint)
    kind = next((kind for kind in (UsageError, EnvironmentProblem) if kind.exit_code == answer.get("exitCode")),
                TestbedError)
    return kind(words, hint=hint)


def job_of(loaded: LoadedExperiment) -> Json:
    """What the simulation must know of an experiment."""
    return {
        "experiment": loaded.experiment.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "file": str(loaded.file), "manifests": list(loaded.manifests),
        "applied": {step: list(items) for step, items in loaded.applied.items()},
    }


def simulation_source(tell: Callable[[str], None]) -> ClusterSource:
    """Starts the process with the run, and ends it with it."""
    @asynccontextmanager
    async def opened(spec: ClusterSpec) -> AsyncIterator[Platform]:
        tell(f"simulating a cluster of {spec.nodes} node{'s' if spec.nodes != 1 else ''} in virtual time")
        # Names are hashed the same way in every process: the order of a set must not differ from run to run.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, limit=_LINE_BYTES, start_new_session=True,
            env=os.environ | {"PYTHONHASHSEED": "0"})
        try:
            yield SimulationPlatform(spec, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    return opened
