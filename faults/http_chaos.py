"""HTTPChaos: requests to a port of a pod, and of a pod to that port of others, are aborted, delayed or changed.

A proxy in the pod's network namespace takes the port's connections (compose/images/nettools/requests_proxy.py), those
of probes too; what the rule does not mean passes with every byte. Several objects on one port add up. Differences from
Chaos Mesh are in docs/faults.md.

Look: ``requests_proxy.ask``, see there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from faults import holder_container, http_fields, http_proof
from faults.effects import Effect, Requests
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import HTTP_CHAOS
from faults.protocol import Aim, Drawing, Json, Tools
from faults.sandboxes import sandbox_of
from testbed.errors import Mistake


class HttpChaos(HeldFault):
    kind = HTTP_CHAOS
    summary = "HTTP requests or responses on a port are aborted, delayed, replaced or patched"
    level = "pod"
    fields = http_fields.FIELDS
    required = ("target", "port")
    after_restart = "pod"
    example: ClassVar[Json] = {"target": "Response", "port": 8080, "path": "/", "replace": {"code": 503}}
    drawn = Drawing("HTTP", "#d35400")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        return http_fields.mistakes(spec)

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        sandbox = await sandbox_of(tools, aim.target)
        rule = {name: aim.spec[name] for name in http_fields.RULE if name in aim.spec}
        own = {"port": rule["port"], "rule": {**rule, "delay_s": http_proof.delay_s(rule)}}
        hold = Hold(aim.entry_id, self.name, "requests_proxy", own, sandbox.id, aim.deadline_ns, network=True,
                    cap_add=("NET_ADMIN", "NET_RAW"))
        return {"hold": hold.to_json(), "address": sandbox.address, "rule": rule}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        rule = plan["rule"]
        question = {"id": plan["hold"]["entry_id"], "address": plan["address"], "port": rule["port"],
                    **http_proof.question(rule)}
        return http_proof.judge(rule, await holder_container.look(tools, holder, "requests_proxy.ask", question))

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        rule = plan["rule"]
        return (Requests(plan["hold"]["joined"], rule["port"], tuple(sorted(rule.items()))),)
