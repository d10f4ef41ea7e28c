# mypy: disable-error-code="import-untyped, untyped-decorator, misc, no-any-return"
"""The pulse as a Locust user: requests that leave on schedule whatever happens, from as many workers as there are.

For locustfiles (``from testbed.load.locust_user import PulseUser``): it imports locust, so nothing else may import it.
One user of a class sends in each worker process, however many there are; arrival *k* of the whole schedule is worker
*k* mod *n*'s, so that *n* workers together send what one would. Latency counts from the due time, in Locust's own
figures too; an arrival that cannot be sent has failed as ``Unsent``, one without an answer at the end as
``Unanswered``.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING

from testbed.load.precedence import NICE, ask_for_precedence
from testbed.load.profile import MOST, Profile, parse_stage

_HERE, _GONE, _SHARE = "testbed-pulse-here", "testbed-pulse-gone", "testbed-pulse-share"
_LOOK_S = 0.05  # how long it sleeps at most: it must see that it is told to stop
_DRAIN_S = 1.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # processes of one boot share CLOCK_MONOTONIC


class Unsent(Exception):
    """Its time came, and too many were in flight."""


class Unanswered(Exception):
    """Still in flight when the test ended."""


@dataclass(frozen=True)
class Share:
    """Which arrivals are this process's: those whose number leaves ``part`` when divided by ``parts``."""

    t0_ns: int
    part: int = 0
    parts: int = 1

    def next(self, number: float) -> int:
        """The first of them from ``number`` on."""
        first = max(0, math.ceil(number - 1e-9))
        return first + (self.part - first) % self.parts


@dataclass
class Arrival:
    """One arrival on its way. ``told``: its request has been measured; what it asks for beside counts from its
    sending."""

    number: int
    due_ns: int
    begun_ns: int
    told: bool = False

    @property
    def context(self) -> dict[str, tuple[int, int, int]]:
        """What our listener is told of it, with its request."""
        return {"testbed_due": (self.due_ns, self.number, self.begun_ns)}


class _FromDueTime:
    """Locust's request event, as the user's client fires it: the first request of an arrival counts from its due
    time."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def fire(self, **meta: Any) -> None:
        arrival = getattr(gevent.getcurrent(), "testbed_arrival", None)
        if arrival is not None and not arrival.told:
            arrival.told = True
            meta["response_time"] = (meta.get("response_time") or 0.0) + (arrival.begun_ns - arrival.due_ns) / 1e6
            meta["context"] = {**(meta.get("context") or {}), **arrival.context}
        self._event.fire(**meta)


class PulseUser(FastHttpUser):
    """A subclass says what is sent, and how often.

    Attributes:
        rate: requests per second, of all workers together; with ``stages``, at the beginning.
        stages: as k6's: ``[{"duration": "30s", "target": 500}, ...]``; the last target is held.
        path: what ``arrival`` asks for.
        patience_s: how long an answer is waited for. max_in_flight: of one worker process.
        default_headers: a new connection for each request, unless this says otherwise.
    """

    abstract = True
    rate: float = 100.0
    stages: Sequence[Mapping[str, Any]] = ()
    path = "/"
    patience_s = 10.0
    max_in_flight = 1000
    default_headers: Any = {"Connection": "close"}

    def __init_subclass__(cls, **more: Any) -> None:
        """Raises: ValueError where the class is defined, so that a wrong schedule is a mistake of the locustfile."""
        super().__init_subclass__(**more)
        if not (0 <= cls.rate <= MOST and (cls.rate or cls.stages)):
            raise ValueError(f"{cls.__name__}.rate is {cls.rate!r}; it is more than 0 and at most {MOST:g}")
        cls.profile()

    def __init__(self, environment: Any) -> None:
        self.concurrency = self.max_in_flight
        self.network_timeout = self.connection_timeout = self.patience_s
        super().__init__(environment)
        self.client.request_event = _FromDueTime(environment.events.request)

    def arrival(self) -> None:
        """One request; override it. It runs beside all others that are on their way."""
        self.client.get(self.path)

    # --- the schedule

    @classmethod
    def profile(cls) -> Profile:
        """Raises: ValueError when a stage is none."""
        if any(set(stage) != {"duration", "target"} for stage in cls.stages):
            raise ValueError(f"{cls.__name__}.stages: each has a duration and a target")
        return Profile(float(cls.rate), tuple(parse_stage(f"{stage['duration']}:{stage['target']}")
                                              for stage in cls.stages))

    @task
    def send_on_schedule(self) -> None:
        """Until the user is stopped. Only one user of a class sends in each process."""
        kind = type(self).__name__
        if not schedules.lead(kind, self):
            gevent.sleep(_LOOK_S)
            return
        flying: Group = Group()
        try:
            self._send(kind, self.profile(), flying)
        finally:
            schedules.leave(kind, self)
            self._land(flying)
        raise StopUser

    def _send(self, kind: str, profile: Profile, flying: Group) -> None:
        share, number = None, 0
        while self._state != LOCUST_STATE_STOPPING:
            current = schedules.shares.get(kind)
            if current is None:
                gevent.sleep(0.005)
                continue
            if current is not share:
                share = current
                number = share.next(profile.arrivals(max(0.0, (time.monotonic_ns() - share.t0_ns) / 1e9)))
            wait_s = share.t0_ns / 1e9 + profile.due_s(number) - time.monotonic()
            if wait_s > 0:
                gevent.sleep(min(wait_s, _LOOK_S))
                continue
            self._launch(number, share.t0_ns + round(profile.due_s(number) * 1e9), flying)
            number += share.parts

    def _launch(self, number: int, due_ns: int, flying: Group) -> None:
        arrival = Arrival(number, due_ns, time.monotonic_ns())
        if len(flying) >= self.max_in_flight:
            self._tell(arrival, Unsent(f"{len(flying)} are in flight"), 0.0)
            return
        greenlet = gevent.Greenlet(self._carry, arrival)
        greenlet.testbed_arrival = arrival
        flying.start(greenlet)

    def _carry(self, arrival: Arrival) -> None:
        problem: BaseException = Unanswered("still in flight at the end")
        try:
            self.arrival()
            problem = LookupError("arrival() sent nothing")
        except Exception as error:
            problem = error
        finally:
            if not arrival.told:
                self._tell(arrival, problem, (time.monotonic_ns() - arrival.due_ns) / 1e6)

    def _tell(self, arrival: Arrival, problem: BaseException, response_ms: float) -> None:
        arrival.told = True
        self.environment.events.request.fire(
            request_type="GET", name=self.path, response_time=response_ms, response_length=0, exception=problem,
            context=arrival.context, start_time=time.time(), response=None, url=self.path)

    def _land(self, flying: Group) -> None:
        flying.join(timeout=_DRAIN_S)
        flying.kill()


class _Schedules:
    """Who sends what, in this process and, in the master, in all of them."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self._leaders: dict[str, PulseUser] = {}
        self._members: dict[str, list[str]] = {}  # the master's: workers with a user of the class
        self._t0_ns: dict[str, int] = {}
        self._boot = _BOOT.read_text().strip() if _BOOT.exists() else ""

    def lead(self, kind: str, user: PulseUser) -> bool:
        """Whether this user is the one that sends; the first of its class is."""
        leader = self._leaders.setdefault(kind, user)
        if leader is not user:
            return False
        runner = user.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.send_message(_HERE, {"kind": kind})
        else:
            self.shares[kind] = Share(time.monotonic_ns())
        return True

    def leave(self, kind: str, user: PulseUser) -> None:
        self._leaders.pop(kind, None)
        self.shares.pop(kind, None)
        if isinstance(user.environment.runner, WorkerRunner):
            user.environment.runner.send_message(_GONE, {"kind": kind})

    # --- between processes

    def take_share(self, msg: Any, **_: Any) -> None:
        """A worker's: of another boot the schedule begins when it is told; its clock is another."""
        data = msg.data
        before = self.shares.get(data["kind"])
        own_ns = before.t0_ns if before is not None else time.monotonic_ns()
        t0_ns = data["t0_ns"] if data["boot"] == self._boot != "" else own_ns
        if data["kind"] in self._leaders:
            self.shares[data["kind"]] = Share(t0_ns, data["part"], data["parts"])

    def came(self, environment: Any, msg: Any, **_: Any) -> None:
        members = self._members.setdefault(msg.data["kind"], [])
        self._t0_ns.setdefault(msg.data["kind"], time.monotonic_ns())
        if msg.node_id not in members:
            members.append(msg.node_id)
        self._deal(environment.runner, msg.data["kind"])

    def went(self, environment: Any, msg: Any, **_: Any) -> None:
        members = self._members.get(msg.data["kind"], [])
        if msg.node_id in members:
            members.remove(msg.node_id)
            self._deal(environment.runner, msg.data["kind"])

    def keep_dealing(self, runner: Any) -> None:
        """A worker that is lost leaves its part to the others."""
        while True:
            gevent.sleep(1)
            alive = {client.id for client in (*runner.clients.ready, *runner.clients.spawning, *runner.clients.running)}
            for kind, members in self._members.items():
                if not alive.issuperset(members):
                    members[:] = [member for member in members if member in alive]
                    self._deal(runner, kind)

    def _deal(self, runner: Any, kind: str) -> None:
        members = self._members[kind]
        for part, member in enumerate(members):
            runner.send_message(_SHARE, {"kind": kind, "part": part, "parts": len(members), "boot": self._boot,
                                         "t0_ns": self._t0_ns[kind]}, client_id=member)


schedules = _Schedules()


def _be_punctual() -> None:
    """Asks for precedence, where the user may. A nice value counts within a session only, so the session that the
    testbed has made for Locust asks as a whole (man 7 sched: autogroup); a session of a person's is left alone."""
    ask_for_precedence()
    if "TESTBED_LOCUST_SAMPLES" in os.environ:
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICE))


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    runner = environment.runner
    if not isinstance(runner, MasterRunner):
        _be_punctual()
    if isinstance(runner, MasterRunner):
        runner.register_message(_HERE, schedules.came)
        runner.register_message(_GONE, schedules.went)
        gevent.spawn(schedules.keep_dealing, runner)
    elif isinstance(runner, WorkerRunner):
        runner.register_message(_SHARE, schedules.take_share)
