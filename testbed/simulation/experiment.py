"""Experiments in virtual time: ``python -m testbed.simulation.experiment``, a process of its own.

It reads jobs from stdin, one JSON object a line, and answers each with one line on stdout; it ends when its stdin does.
The runner inside is the unmodified one (`experiment.phases`); a repetition has a `World` of its own, drawn from the
experiment's seed and the repetition's number, so that the same job has the same answer.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.core.profile import PROFILES
from testbed.errors import TestbedError
from testbed.experiment.applying import apply, deployments_in
from testbed.experiment.interrupts import Interrupts
from testbed.experiment.journal import Journal
from testbed.experiment.kind import ClusterSpec, Experiment
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.phases import RepetitionRunner
from testbed.experiment.repetition import run_result
from testbed.experiment.result import RunResult, Verdict
from testbed.simulation.clients import SimulatedPlatform
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.nodes import NodeShape
from testbed.simulation.playing import (
    images_in,
    is_foreign,
    notes_on_images,
    notes_on_variables,
    played_manifests,
    without_what_has_no_twin,
)
from testbed.simulation.world import open_world

Json = dict[str, Any]

# Tried on two cores, engine 20.10: 7.0 containers a second one after the other, 12.4 at most side by side.
PARALLEL_STARTS = 12.4 / 7.0


def answer(job: Json) -> Json:
    """``{"notes": [...]}`` to a look at an experiment, ``{"run": RunResult}`` to a repetition, or an ``error``."""
    try:
        if job["do"] == "look":
            return {"notes": notes_on(job)}
        return {"run": repetition(job).model_dump(mode="json", by_alias=True)}
    except TestbedError as error:
        return {"error": error.message, "hint": error.hint, "exitCode": error.exit_code}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"error": f"a bug of ours: {error!r} at {Path(where.filename).name}:{where.lineno}", "exitCode": 70}


def notes_on(job: Json) -> list[str]:
    """What a reader of the figures must know."""
    experiment, notes = without_what_has_no_twin(job["experiment"])
    manifests = _all_manifests(job)
    return notes + notes_on_images(images_in(experiment, manifests)) + notes_on_variables(manifests)


def _all_manifests(job: Json) -> list[Json]:
    return [*job["manifests"], *(item for items in job["applied"].values() for item in items)]


def repetition(job: Json) -> RunResult:
    """One run in virtual time. Raises: TestbedError."""
    experiment, _ = without_what_has_no_twin(job["experiment"])
    loaded = LoadedExperiment(
        Experiment.model_validate(experiment), Path(job["file"]), played_manifests(job["manifests"]),
        {step: played_manifests(items) for step, items in job["applied"].items()}, (), ())
    images = [image for image in images_in(experiment, _all_manifests(job)) if is_foreign(image)]
    return run_virtual(lambda loop: _in_virtual_time(loop, job, loaded, images))


async def _in_virtual_time(loop: VirtualLoop, job: Json, loaded: LoadedExperiment, images: list[str]) -> RunResult:
    spec, number, folder = loaded.experiment.spec, int(job["number"]), Path(job["folder"])
    seed = random.Random(f"{spec.seed} {number}").getrandbits(32)
    async with open_world(loop, seed, nodes=spec.cluster.nodes, profile=PROFILES[spec.cluster.profile],
                          shape=shape_of(spec.cluster)) as world:
        world.machine.add_image(*images)
        world.machine.parallel_starts = PARALLEL_STARTS
        await apply(world.client, loaded.manifests, spec.namespace, lambda made: None)
        runner = RepetitionRunner(
            loaded, SimulatedPlatform(world), run_id=job["runId"], number=number, folder=folder,
            journal=Journal(world.directory, job["runId"], loaded.experiment.metadata.name, spec.seed),
            interrupts=Interrupts(_silent), tell=_silent,
            deployments=tuple(deployments_in(loaded.manifests, spec.namespace)))
        found = run_result(await runner.run())
        if world.api.failure is not None:
            reason = f"the simulated control plane ended: {world.api.failure!r}"
            found = found.model_copy(update={"verdict": Verdict.BUG, "reason": reason})
        return found


def _silent(words: str) -> None:
    """Nobody watches virtual time."""


def shape_of(cluster: ClusterSpec) -> NodeShape:
    usual = NodeShape()
    return NodeShape(cpu=cluster.node_cpu or usual.cpu, memory=cluster.node_memory or usual.memory,
                     disk=cluster.node_disk or usual.disk, kind=cluster.node_kind, zones=cluster.zones)


def main(write: Callable[[str], object] = sys.stdout.write) -> int:
    logging.lastResort = None  # what simulated processes log is nobody's; a pipe that nobody reads must not fill up
    for line in sys.stdin:
        write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
