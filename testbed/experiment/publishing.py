"""Shows a run as an object of kind Experiment in its cluster, so that ``kubectl get experiments`` tells of it.

Only a picture: the runner never reads it back, and a cluster that will not have it is no problem.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS
from testbed.client.protocol import Client
from testbed.errors import AlreadyExists, ApiError, TestbedError
from testbed.experiment.kind import API_VERSION, KIND, Experiment
from testbed.experiment.schema import EXPERIMENTS, experiment_definition


class PublishedRun:
    """One run's object. Every call is harmless when the API refuses it."""

    def __init__(self, client: Client, experiment: Experiment, run_id: str) -> None:
        self._client, self._experiment, self._run_id = client, experiment, run_id
        self._namespace = experiment.spec.namespace
        self._there = False

    async def begin(self, started_at: datetime) -> None:
        """Registers the kind where it is not served yet, and creates the object."""
        with contextlib.suppress(ApiError):
            with contextlib.suppress(AlreadyExists):
                await self._client.create(CUSTOM_RESOURCE_DEFINITIONS, experiment_definition())
            spec = self._experiment.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
            await self._client.create(EXPERIMENTS, {
                "apiVersion": API_VERSION, "kind": KIND,
                "metadata": {"name": self._run_id, "namespace": self._namespace}, "spec": spec}, self._namespace)
            self._there = True
            await self._status({"phase": "Running", "startedAt": format_time(started_at)})

    async def end(self, verdict: str, reason: str) -> None:
        if self._there:
            with contextlib.suppress(TestbedError):
                await self._status({"phase": "Finished", "verdict": verdict, "reason": reason})

    async def _status(self, status: dict[str, Any]) -> None:
        await self._client.patch(EXPERIMENTS, self._run_id, {"status": status}, self._namespace, subresource="status")
