"""DNSChaos: names that a pod asks for are answered with an error, or with an address that nobody has.

The questions of the pod's own processes are read on their way out, in the pod's network namespace
(compose/images/nettools/names.py); what no pattern means goes on untouched, to whichever resolver it was sent. It hits
all containers of a pod, which share one network, and stays through their restarts. Differences from Chaos Mesh: no
DNS server of its own is needed and nothing in the pod is changed; random addresses are of blocks that are nobody's
(198.18.0.0/15, 2001:db8::/32), so that no stranger is called.

Look: ``names.resolve``, see there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from faults import holder_container
from faults.effects import Effect, Names
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import DNS_CHAOS
from faults.protocol import Aim, Drawing, Json, NotInEffect, Refused, Target, TargetGone, Tools
from faults.sandboxes import sandbox_of
from testbed.api.resources import PODS
from testbed.errors import Mistake, NotFound

_CLUSTERS_OWN = "kubernetes.default.svc.cluster.local"  # a name that every cluster has
_PATTERN = re.compile(r"[A-Za-z0-9_.?-]{1,253}\*?|\*")
_SERVFAIL = 2
_PATTERNS: Json = {
    "type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1, "maxLength": 254},
    "description": "Which names: ? is any one character, * at the end whatever follows; without any, all names.",
}


class DnsFault(HeldFault):
    """``answer``: what is answered; see effects.Names."""

    kind = DNS_CHAOS
    level = "pod"
    fields: ClassVar[Mapping[str, Json]] = {"patterns": _PATTERNS}
    needs = ("nfqueue",)
    after_restart = "pod"
    answer: ClassVar[str]

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        return tuple(
            Mistake("a pattern is a name with ? for any one character and * only at its end, such as github.* or "
                    "chaos-mes?.org", f"spec.patterns[{index}]")
            for index, pattern in enumerate(spec.get("patterns") or ()) if not _PATTERN.fullmatch(str(pattern)))

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        await _check_containers(tools, aim.target, aim.spec.get("containerNames") or ())
        sandbox = await sandbox_of(tools, aim.target)
        patterns = [str(pattern) for pattern in aim.spec.get("patterns") or ()]
        hold = Hold(aim.entry_id, self.name, "names", {"patterns": patterns, "answer": self.answer}, sandbox.id,
                    aim.deadline_ns, network=True, cap_add=("NET_ADMIN", "NET_RAW"))
        return {"hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        patterns = plan["hold"]["plan"]["patterns"]

        async def ask(name: str) -> Json:
            question = {"id": plan["hold"]["entry_id"], "name": name}
            answer: Json = await holder_container.look(tools, holder, "names.resolve", question)
            return answer

        meant = a_name_of(patterns[0]) if patterns else _CLUSTERS_OWN
        met = await ask(meant)
        shown = self.shown(meant, met)
        if self.answer == "random" and (await ask(meant))["addresses"] == met["addresses"]:
            raise NotInEffect(f"{meant} has {', '.join(met['addresses'])}, asked twice")
        if means(patterns, _CLUSTERS_OWN):
            return shown
        try:
            other = await ask(_CLUSTERS_OWN)
        except NotInEffect:  # its resolver may have troubles of its own
            return f"{shown}; {_CLUSTERS_OWN} is not answered, by nobody's doing here"
        return f"{shown}; {_CLUSTERS_OWN} has {', '.join(other['addresses']) or 'no address'} as ever"

    def shown(self, name: str, met: Json) -> str:
        """What an answer to a name that is meant shows, in words. Raises: NotInEffect."""
        by = f"in place of {met['resolver']} after {met['ms']:.1f} ms"
        if met["forged"] and self.answer == "error" and met["code"] == _SERVFAIL:
            return f"{name}: server failure, {by}"
        if met["forged"] and self.answer == "random" and met["addresses"]:
            return f"{name}: {met['addresses'][0]}, {by}"
        raise NotInEffect(f"{name} is answered by {met['resolver']} itself: code {met['code']}, "
                          f"{', '.join(met['addresses']) or 'no address'}")

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        own = plan["hold"]["plan"]
        return (Names(plan["hold"]["joined"], tuple(own["patterns"]), self.answer),)


class DnsError(DnsFault):
    action = "error"
    summary = "names are answered with a server failure"
    answer = "error"
    example: ClassVar[Json] = {"patterns": ["web.default.*"]}
    drawn = Drawing("DNS error", "#7d3c98")


class DnsRandom(DnsFault):
    action = "random"
    summary = "names are answered with random addresses"
    answer = "random"
    example: ClassVar[Json] = {"patterns": ["web.default.*"]}
    drawn = Drawing("DNS random", "#a569bd")


def a_name_of(pattern: str) -> str:
    """A name that a pattern means."""
    return pattern.replace("?", "a").replace("*", "testbed").strip(".") or "testbed"


def means(patterns: Sequence[str], name: str) -> bool:
    """compose/images/nettools/dns_packet.py: means."""
    name = name.lower().rstrip(".")
    expressions = [re.escape(pattern.lower()).replace(r"\?", ".").replace(r"\*", ".*") for pattern in patterns]
    return not patterns or any(
        re.fullmatch(expression, form) for expression in expressions for form in (name, name + "."))


async def _check_containers(tools: Tools, target: Target, names: Sequence[str]) -> None:
    """Raises: Refused when only some of a pod's containers are named; TargetGone."""
    if not names:
        return
    try:
        pod = await tools.client.get(PODS, target.pod, target.namespace)
    except NotFound as error:
        raise TargetGone(f"pod {target.id} is gone") from error
    spared = [container["name"] for container in pod["spec"]["containers"] if container["name"] not in names]
    if spared:
        raise Refused(f"containers of a pod share one network: {', '.join(spared)} of {target.id} would be hit too",
                      hint="leave containerNames out")
