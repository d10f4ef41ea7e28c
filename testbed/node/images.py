"""Images before a container is made: the pull policy, and back-off of pulls that fail.

Source: kubernetes pkg/kubelet/images/image_manager.go EnsureImageExists.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from testbed.api.core_v1 import Container
from testbed.core.backoff import BackoffEntry, BackoffRule, advanced, remaining_s
from testbed.core.image_names import mistake
from testbed.core.pods import Waiting
from testbed.errors import EngineError, EngineUnavailable, NoSuchImage
from testbed.node.facts import now_s
from testbed.runtime.assets import ImageState
from testbed.runtime.protocol import Engine

Tell = Callable[[str, str, str], None]  # type, reason, message


class ImageNotReady(Exception):
    """The container cannot be made: ``waiting`` says why, ``again_s`` is the monotonic moment of the next try."""

    def __init__(self, waiting: Waiting, again_s: float) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting
        self.again_s = again_s


class Images:
    def __init__(self, engine: Engine, rule: BackoffRule) -> None:
        self._engine, self._rule = engine, rule
        # By pod and reference: back-off, when, what was said.
        self._failed: dict[tuple[str, str], tuple[BackoffEntry, float, str]] = {}
        self._present: dict[str, ImageState] = {}
        self._pulls = asyncio.Semaphore(2)

    async def ensure(self, uid: str, container: Container, tell: Tell) -> ImageState:
        """The image, present on the engine. ``uid``: the pod's, each of which has back-offs of its own.

        Raises: ImageNotReady, EngineUnavailable.
        """
        reference = container.image
        if wrong := mistake(reference):
            text = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": {wrong}'
            tell("Warning", "InspectFailed", text)
            raise ImageNotReady(Waiting("InvalidImageName", text), now_s() + self._rule.max_s)
        policy = container.image_pull_policy or default_policy(reference)
        found = await self._find(reference)
        if found is not None and policy != "Always":
            tell("Normal", "Pulled", f'Container image "{reference}" already present on machine')
            return found
        if policy == "Never":
            text = f'Container image "{reference}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", text)
            raise ImageNotReady(Waiting("ErrImageNeverPull", text), now_s() + self._rule.initial_s)
        return await self._pull(uid, reference, found, tell)

    async def _find(self, reference: str) -> ImageState | None:
        if reference in self._present:
            return self._present[reference]
        try:
            image = await self._engine.image(reference)
        except NoSuchImage:
            return None
        self._present[reference] = image
        return image

    async def stop_signal(self, reference: str) -> str:
        """What the image wants to be ended with (``STOPSIGNAL``), SIGTERM where it does not say."""
        try:
            image = await self._find(reference)
        except EngineUnavailable:
            image = None
        wanted = image.stop_signal if image is not None else ""
        return wanted if wanted in signal.Signals.__members__ else "SIGTERM"

    def forget_pod(self, uid: str) -> None:
        for key in [key for key in self._failed if key[0] == uid]:
            del self._failed[key]

    def forget(self, reference: str) -> None:
        """The engine said that it has no such image: look again next time."""
        self._present.pop(reference, None)

    async def _pull(self, uid: str, reference: str, present: ImageState | None, tell: Tell) -> ImageState:
        failed = self._failed.get((uid, reference))
        if failed is not None:
            entry, failed_s, said = failed
            left_s = remaining_s(self._rule, entry, failed_s, now_s())
            if left_s > 0:
                text = f'Back-off pulling image "{reference}"'
                tell("Normal", "BackOff", text)
                raise ImageNotReady(Waiting("ImagePullBackOff", f"{text}: ErrImagePull: {said}"), now_s() + left_s)
        tell("Normal", "Pulling", f'Pulling image "{reference}"')
        begun = now_s()
        try:
            async with self._pulls:
                await self._engine.pull(reference)
            self._present.pop(reference, None)
            image = await self._engine.image(reference)
        except EngineError as error:
            if present is not None and not names_registry(reference):
                # No registry here, the image is at hand: upstream would fail, a machine without a registry must not.
                text = f'Failed to pull image "{reference}", the present one is used: {error.message}'
                tell("Warning", "Failed", text)
                return present
            entry = advanced(self._rule, failed[0] if failed else None, failed[1] if failed else begun, now_s())
            told = f"{error.message} ({error.hint})" if error.hint else error.message
            self._failed[uid, reference] = (entry, now_s(), told)
            tell("Warning", "Failed", f'Failed to pull image "{reference}": {told}')
            # Looked at again half-way through the back-off, so that the status says what it waits for, as upstream's.
            raise ImageNotReady(Waiting("ErrImagePull", told), now_s() + entry.delay_s / 2) from error
        self._failed.pop((uid, reference), None)
        self._present[reference] = image
        took = now_s() - begun
        tell("Normal", "Pulled", f'Successfully pulled image "{reference}" in {took:.3f}s')
        return image


def names_registry(reference: str) -> bool:
    """Whether the name begins with a registry's host (distribution: reference.ParseNormalizedNamed): it is meant to
    come from there, and from nowhere else."""
    host, slash, _ = reference.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def default_policy(reference: str) -> str:
    """Always for ``latest`` or no tag, else IfNotPresent."""
    name = reference.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"
