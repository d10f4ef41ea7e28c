"""Carries one injection out and takes it back, step by step with the ledger.

Order, and why: look (nothing is changed) · write the plan with its undo · start the holder · act · verify · write.
Whoever dies in between leaves a row that says what may have been done, and a holder that ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from faults.holders import Holders
from faults.ledger import Entry, Ledger, Phase
from faults.lifecycle import MAX_ATTEMPTS
from faults.protocol import Aim, Fault, NotInEffect, Refused, Target, TargetGone, Tools
from faults.registry import Registry
from faults.told import Tell, whom
from testbed.api.clock import WallClock
from testbed.api.meta import format_time
from testbed.api.process_logs import about
from testbed.errors import PermissionMissing, TestbedError

log = logging.getLogger("chaos")

_LOOK_S = 0.02  # between two looks whether an act has taken effect
_UNDO_WITHIN_S = 10.0
_UNDO_PATIENCE_S = 60.0  # of one undo; the power of a node comes back slowly
_MOST_RETRY_S = 5.0


class Surgeon:
    """Does and undoes injections. Every method returns the entry as it now stands in the ledger and never raises a
    TestbedError: what went wrong is in the entry's events."""

    def __init__(
        self, tools: Tools, ledger: Ledger, holders: Holders, registry: Registry, clock: WallClock,
    ) -> None:
        self._tools, self._ledger, self._holders, self._registry, self._clock = tools, ledger, holders, registry, clock

    # --- doing

    async def inject(self, entry: Entry, spec: Mapping[str, Any], tell: Tell, wanted: Callable[[], bool]) -> Entry:
        """``wanted``: False once it is to be taken back again; nobody waits for its effect then."""
        fault = self._registry.get(entry.injector)
        try:
            if entry.phase is Phase.PREPARED:
                if await self._in_effect(fault, entry):
                    return self._injected(entry, "seen after a restart", tell)
                if not await self._clean(fault, entry):  # the next plan may be about another container
                    raise NotInEffect("what was begun before a restart could not be taken back")
                self._holders.end(entry.id, entry.holder)
            entry = await self._prepare(fault, entry, spec)
            entry = self._begun(entry, tell)
            return self._injected(entry, await self._done_and_seen(fault, entry, wanted), tell)
        except (TestbedError, TimeoutError) as error:
            return await self._failed(fault, entry, error, tell)

    async def _done_and_seen(self, fault: Fault, entry: Entry, wanted: Callable[[], bool]) -> str:
        """What shows that it is in effect. Nothing is begun any more once its time is over: its holder undoes it then,
        and whoever came after that would be the last. Raises: TestbedError, TimeoutError."""
        over = NotInEffect("its time was over before it was seen to be in effect")
        if entry.deadline_ns and not self._remaining_s(entry):
            raise over
        await fault.inject(self._tools, entry.plan, self._remaining_s(entry))
        try:
            async with asyncio.timeout_at(entry.deadline_ns / 1e9 if entry.deadline_ns else None) as time:
                return await self._verified(fault, entry, wanted)
        except TimeoutError as error:
            raise over if time.expired() else error from None

    async def _prepare(self, fault: Fault, entry: Entry, spec: Mapping[str, Any]) -> Entry:
        chosen: dict[str, tuple[Target, ...]] = {}
        for other in self._ledger.of(entry.uid):
            chosen[other.target.key] = (*chosen.get(other.target.key, ()), other.target)
        plan = await fault.prepare(self._tools, Aim(entry.id, entry.target, spec, chosen, entry.deadline_ns))
        entry = replace(entry, plan=plan, phase=Phase.PREPARED)
        self._ledger.write(entry)
        if entry.deadline_ns:
            holder = self._holders.start(entry.id, entry.deadline_ns, fault.holder_acts(self._tools, plan))
            entry = replace(entry, holder=holder)
            self._ledger.write(entry)
        return entry

    async def _in_effect(self, fault: Fault, entry: Entry) -> bool:
        try:
            await fault.verify(self._tools, entry.plan)
        except (NotInEffect, TargetGone):
            return False
        return True

    async def _verified(self, fault: Fault, entry: Entry, wanted: Callable[[], bool]) -> str:
        until = self._now_s() + fault.verify_within_s(entry.plan)
        while True:
            try:
                return await fault.verify(self._tools, entry.plan)
            except NotInEffect:
                if self._now_s() >= until:
                    raise
                if not wanted():
                    raise NotInEffect("it was to be taken back before it was seen to be in effect") from None
            await asyncio.sleep(_LOOK_S)

    def _begun(self, entry: Entry, tell: Tell) -> Entry:
        """Told before anything is done: whoever follows the fault then knows its target's id before it is hurt."""
        at_ns = self._now_ns()
        tell("Started", f"{entry.injector} on {entry.target.id} begins", at_ns, warning=False, entry=entry)
        return self._noted(entry, "Started", "Apply", "", at_ns)

    def _injected(self, entry: Entry, evidence: str, tell: Tell) -> Entry:
        at_ns = self._now_ns()
        sooner_s = self._registry.get(entry.injector).in_effect_s(entry.plan)
        if sooner_s is not None and entry.deadline_ns:
            entry = replace(entry, deadline_ns=min(entry.deadline_ns, at_ns + int(sooner_s * 1e9)))
        entry = replace(entry, phase=Phase.INJECTED, injected_count=entry.injected_count + 1, attempts=0, retry_ns=0)
        entry = self._noted(entry, "Succeeded", "Apply", evidence, at_ns)
        tell("Applied", f"{entry.injector} on {entry.target.id}: {evidence}", at_ns, warning=False, entry=entry)
        return entry

    async def _failed(self, fault: Fault, entry: Entry, error: Exception, tell: Tell) -> Entry:
        """Leaves no half damage behind; tries again later unless that cannot help."""
        why = str(error) or "no answer in time"
        hopeless = isinstance(error, TargetGone | Refused | PermissionMissing)
        attempts = entry.attempts + 1
        spent = hopeless or attempts >= MAX_ATTEMPTS
        clean = entry.phase is Phase.CHOSEN or await self._clean(fault, entry)
        phase = Phase.UNDOING if not clean else Phase.UNDONE if spent else Phase.CHOSEN
        if clean:
            self._holders.end(entry.id, entry.holder)
        entry = replace(entry, attempts=attempts, spent=spent, phase=phase, retry_ns=self._retry_ns(attempts))
        entry = self._noted(entry, "Failed", "Apply", why)
        tell("Failed", f"{entry.injector} on {entry.target.id}: {why}", self._now_ns(), warning=True, entry=entry)
        return entry

    async def _clean(self, fault: Fault, entry: Entry) -> bool:
        if self._shared(fault, entry):
            return True
        try:
            async with asyncio.timeout(_UNDO_PATIENCE_S):
                await fault.undo(self._tools, entry.plan)
                return await fault.undone(self._tools, entry.plan)
        except (TestbedError, TimeoutError) as error:
            log.warning("undo of %s on %s: %s", entry.injector, entry.target.id, error, extra=about(**whom(entry)))
            return False

    # --- undoing

    async def recover(self, entry: Entry, tell: Tell) -> Entry:
        fault = self._registry.get(entry.injector)
        if entry.phase is not Phase.UNDOING:
            entry = replace(entry, phase=Phase.UNDOING, attempts=0, retry_ns=0)
            self._ledger.write(entry)
            log.info("undo of %s on %s begins", entry.injector, entry.target.id, extra=about(**whom(entry)))
        try:
            if not self._shared(fault, entry):
                async with asyncio.timeout(_UNDO_PATIENCE_S):
                    await fault.undo(self._tools, entry.plan)
                    await self._gone(fault, entry)
        except (TestbedError, TimeoutError) as error:
            message = str(error) or "no answer in time"
            entry = replace(entry, attempts=entry.attempts + 1, retry_ns=self._retry_ns(entry.attempts + 1))
            entry = self._noted(entry, "Failed", "Recover", message)
            tell("Failed", f"undo of {entry.injector} on {entry.target.id}: {message}", self._now_ns(), warning=True,
                 entry=entry)
            return entry
        at_ns = self._now_ns()
        self._holders.end(entry.id, entry.holder)
        counted = entry.recovered_count + (1 if entry.injected_count > entry.recovered_count else 0)
        entry = replace(entry, phase=Phase.UNDONE, recovered_count=counted, holder=(0, 0), retry_ns=0, attempts=0)
        entry = self._noted(entry, "Succeeded", "Recover", "", at_ns)
        tell("Recovered", f"{entry.injector} on {entry.target.id}", at_ns, warning=False, entry=entry)
        return entry

    def _shared(self, fault: Fault, entry: Entry) -> bool:
        """Whether another injection still needs what this one's undo would end."""
        held = fault.shares(entry.plan)
        return bool(held) and any(
            other.id != entry.id and other.phase in (Phase.PREPARED, Phase.INJECTED)
            and self._registry.get(other.injector).shares(other.plan) == held for other in self._ledger.active())

    async def _gone(self, fault: Fault, entry: Entry) -> None:
        until = self._now_s() + _UNDO_WITHIN_S
        while not await fault.undone(self._tools, entry.plan):
            if self._now_s() >= until:
                raise TestbedError("the undo was done, and the damage is still there")
            await asyncio.sleep(_LOOK_S)

    # --- small things

    def _noted(self, entry: Entry, kind: str, operation: str, message: str, at_ns: int = 0) -> Entry:
        event: dict[str, Any] = {
            "type": kind, "operation": operation, "timestamp": format_time(self._clock.now()),
            "monotonicNs": at_ns or self._now_ns(),
        }
        if message:
            event["message"] = message[:500]
        entry = entry.noted(event)
        self._ledger.write(entry)
        return entry

    def _retry_ns(self, attempts: int) -> int:
        return self._now_ns() + int(min(_MOST_RETRY_S, 0.25 * 2 ** min(attempts, 10)) * 1e9)

    def _remaining_s(self, entry: Entry) -> float:
        return max(0.0, (entry.deadline_ns - self._now_ns()) / 1e9) if entry.deadline_ns else 0.0

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _now_ns(self) -> int:
        return int(self._now_s() * 1e9)
