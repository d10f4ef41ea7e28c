"""What ``look.py WHAT QUESTION`` tells inside simulated containers: a table of looks, each a small function.

A fault's look on a real machine is ``module.function`` of the tools image; its simulated twin stands here under that
name, with the same question and answer, and answers from the simulated world. It raises OSError, ValueError or
LookupError where the real one would say on stderr that it cannot see. ``ping`` is no look: it is one of the simulated
programs (``runtime/simulated_programs.py``), and so is ``date``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from faults.effects import Clock, Disk, Files, Load, Packets, Requests, Split
from testbed.api import labels
from testbed.runtime.simulated import SimulatedMachine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.runtime.simulated_process import Program
from testbed.simulation.effects import Effects
from testbed.simulation.exchanges import Request, meant, on_answer, on_request

Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """From where something is looked at. ``container``: where ``look.py`` runs; ``program``: its run, to wait with."""

    machine: SimulatedMachine
    effects: Effects
    container: SimulatedContainer
    program: Program


_MOST_TRIES = 1000  # of what only a share of operations meets

Look = Callable[[Seen, Json], Awaitable[Any]]
LOOKS: dict[str, Look] = {}


def look(name: str) -> Callable[[Look], Look]:
    """Registers the simulated twin of ``module.function``."""

    def register(function: Look) -> Look:
        LOOKS[name] = function
        return function

    return register


@look("stress.used")
async def _stress_used(seen: Seen, question: Json) -> Json:
    """What the stress of this holder takes: {"cpus", "memory_bytes", "processes"}; question: {"for_s"}."""
    await seen.program.pause(float(question["for_s"]))
    held = seen.effects.in_force.get(seen.container.spec.labels[labels.INJECTION], ())
    loads = [effect for effect in held if isinstance(effect, Load)]
    return {"cpus": sum(one.cpus for one in loads), "memory_bytes": sum(one.memory_bytes for one in loads),
            "processes": 2 if loads else 0}


@look("disk_fill.held")
async def _disk_fill_held(seen: Seen, question: Json) -> Json:
    """{"bytes"}: what the file of an injection (question: {"node", "id"}) takes up."""
    held = [effect.filled_bytes for effect in seen.effects.in_force.get(question["id"], ()) if isinstance(effect, Disk)]
    if not held:
        raise FileNotFoundError(f"there is no file fill-{question['id']}")
    return {"bytes": sum(held)}


@look("slow_disk.timed")
async def _slow_disk_timed(seen: Seen, question: Json) -> Json:
    """Seconds that transfers take: {kind: seconds}; question: {kind: bytes or count}. Only these take their time."""
    took: dict[str, float] = {}
    for kind, amount in question.items():
        limits = [dict(effect.limits)[kind] for effects in seen.effects.in_force.values() for effect in effects
                  if isinstance(effect, Disk) and seen.machine.within(seen.container.cgroup, effect.cgroup)
                  and kind in dict(effect.limits)]
        took[kind] = amount / min(limits) if limits else 0.001
        await seen.program.pause(took[kind])
    return took


@look("names.resolve")
async def _names_resolve(seen: Seen, question: Json) -> Json:
    """Question and answer: compose/images/nettools/names.py. What is asked for is a whole name."""
    answer: Json = {"code": 0, "addresses": [], "forged": False, "resolver": "the cluster's", "ms": 0.1}
    name = str(question["name"]).lower().rstrip(".")
    try:
        instead = seen.effects.answer_name(seen.machine.sandbox_of(seen.container).id, name)
    except OSError:
        return {**answer, "code": 2, "forged": True}
    found = instead or seen.machine.resolve(name)
    return {**answer, "code": 0 if found else 3, "addresses": [found] if found else [], "forged": bool(instead)}


@look("requests_proxy.ask")
async def _requests_ask(seen: Seen, question: Json) -> Json:
    """Question and answer: compose/images/nettools/requests_proxy.py. Headers of answers are not simulated."""
    rules = tuple(effect for effect in seen.effects.in_force.get(question["id"], ()) if isinstance(effect, Requests))
    request = Request(question["method"], question["path"],
                      tuple((name.lower(), value) for name, value in question["headers"].items()))
    asked = on_request(rules, request)
    direct, _ = _http_answer(seen, question, (), request, 0.0)
    met, responses = _http_answer(seen, question, rules, asked.request, asked.late_s)
    applied = len(meant(rules, "Request", request, None)) + (0 if asked.aborted else responses)
    if asked.aborted and direct["how"] != "refused":
        met = {"how": "closed", "ms": 0.2}
    await seen.program.pause((direct["ms"] + met["ms"]) / 1000)
    return {"direct": direct, "met": met, "connections": len(rules), "requests": len(rules), "applied": applied,
            "rules": 4 if rules else 0}


def _http_answer(
    seen: Seen, question: Json, rules: tuple[Requests, ...], request: Request, late_s: float
) -> tuple[Json, int]:
    """One answer, and how many rules meant it."""
    verdict, container = seen.machine.listener(question["address"], question["port"])
    silent: Json = {"how": "silent", "ms": question["within_s"] * 1000}
    if verdict == "refused":
        return {"how": "refused", "ms": 0.1}, 0
    if container is None or container.application is None or seen.machine.is_frozen(container.cgroup):
        return silent, 0
    answer = container.application.answer(request.path, seen.machine.age_s(container))
    if answer is None:
        return silent, 0
    status, body, delay_s = answer
    answered = on_answer(rules, request, status, body)
    count = len(meant(rules, "Response", request, status))
    late_s += delay_s + answered.late_s
    if late_s >= question["within_s"]:
        return silent, count
    if answered.aborted:
        return {"how": "closed", "ms": late_s * 1000}, count
    return {"how": "answered", "ms": late_s * 1000 + 0.4, "code": answered.status, "headers": [],
            "body": answered.body}, count


@look("packets.counters")
async def _packet_counters(seen: Seen, question: Json) -> Any:
    """Who counts is the effect itself: what is sent meets it, and as much is lost as it says."""
    found = [one for one in seen.effects.in_force.get(str(question["id"]), ()) if isinstance(one, Packets)]
    sent = len(question.get("to") or ()) * int(question.get("count", 1))
    lost = sum(sent if one.drop else round(sent * one.loss) for one in found[:1])
    return {"before": {"met": 0, "lost": 0}, "after": {"met": sent if found else 0, "lost": lost}, "sent": sent,
            "stands": bool(found)}


@look("clocks.seen")
async def _clocks_seen(seen: Seen, question: Json) -> Json:
    """One process in each container; CLOCK_REALTIME is read, other clocks are what was asked for."""
    held = {effect.container for effect in seen.effects.in_force.get(question["id"], ()) if isinstance(effect, Clock)}
    concerned = [item for item in seen.machine.containers.values() if item.running and (
        item.id in question.get("containers", ()) or item.id in held)]
    reached = [item for item in concerned if item.id in held]
    off_ns = {str(clock): question["offset_ns"] for clock in question["clocks"]} if reached else {}
    if "0" in off_ns:
        off_ns["0"] = int(seen.effects.offset_s(reached[0].id) * 1e9)
    return {"processes": len(concerned), "reached": len(reached), "unlike": 0, "off_ns": off_ns, "due_ns": off_ns}


@look("volume_look.seen")
async def _volume_seen(seen: Seen, question: Json) -> Json:
    """Operations on one path that matches."""
    held = [item for item in seen.effects.in_force.get(question["id"], ()) if isinstance(item, Files)]
    pattern = question["path"].replace("**/", "")
    path = pattern.replace("*", ".testbed-io") or question["volume"]
    method = (question["methods"] or ["statfs"])[0]
    answer: Json = {"mounted": bool(held), "method": method, "path": path, "tries": 0, "met": 0, "errno": 0,
                    "took_s": 0.0}
    while held and not answer["met"] and answer["tries"] < _MOST_TRIES:
        answer["tries"] += 1
        try:
            took_s = seen.effects.meet_file(question["container"], path, (method,))
            await seen.program.pause(took_s)
            met, number = not question["errno"] and took_s * 1e9 >= question["delay_ns"], 0
        except OSError as error:
            took_s, number = 0.0, error.errno or 0
            met = number == question["errno"]
        if met:
            answer.update(met=1, errno=number, took_s=took_s)
    return answer


@look("apart.seen")
async def _apart_seen(seen: Seen, question: Json) -> Json:
    """The simulated gateway does not count."""
    own = question["table"].removeprefix("apart_")
    held = any(isinstance(one, Split) and "".join(letter if letter.isalnum() else "_" for letter in injection) == own
               for injection, effects in seen.effects.in_force.items() for one in effects)
    return {"rules": int(held), "to": 0, "from": 0}
