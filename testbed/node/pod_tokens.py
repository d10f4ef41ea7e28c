"""Service account tokens of a node's pods: asked of the API before a pod starts, and anew at 80 % of their life.

Source: kubernetes pkg/kubelet/token/token_manager.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.api.core_v1 import Pod
from testbed.api.resources import SERVICE_ACCOUNTS
from testbed.client.protocol import Client
from testbed.core.environment import MissingConfig
from testbed.core.projections import tokens_wanted
from testbed.errors import ApiError
from testbed.node.facts import now_s

REFRESH_SHARE = 0.8
LONGEST_S = 24 * 3600.0
_AGAIN_S = 10.0  # after a refresh that failed


@dataclass(frozen=True)
class _Token:
    text: str
    refresh_s: float


class PodTokens:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens: dict[str, dict[tuple[str, int], _Token]] = {}
        self._again_s: dict[str, float] = {}  # by pod: when to ask anew for what could not be had

    async def ensure(self, pod: Pod) -> bool:
        """Every token that the pod's volumes hold is there and fresh. Whether one is new.

        Raises: MissingConfig when one cannot be had and there is no older one.
        """
        changed = False
        for wanted in tokens_wanted(pod):
            known = self._tokens.setdefault(pod.metadata.uid, {}).get(wanted)
            if known is not None and known.refresh_s > now_s():
                continue
            try:
                fresh = await self._ask(pod, *wanted)
                changed = True
            except ApiError as error:
                if known is None:
                    self._again_s[pod.metadata.uid] = now_s() + _AGAIN_S
                    raise MissingConfig(f"failed to fetch token: {error.message}") from error
                fresh = _Token(known.text, now_s() + _AGAIN_S)
            self._tokens.setdefault(pod.metadata.uid, {})[wanted] = fresh
        return changed

    async def _ask(self, pod: Pod, audience: str, lifetime_s: int) -> _Token:
        meta = pod.metadata
        answer = await self._client.create_subresource(SERVICE_ACCOUNTS, pod.spec.service_account_name, "token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
                "audiences": [audience] if audience else [], "expirationSeconds": lifetime_s,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid}},
        }, meta.namespace)
        return _Token(str(answer["status"]["token"]), now_s() + min(lifetime_s * REFRESH_SHARE, LONGEST_S))

    def get(self, uid: str, audience: str, lifetime_s: int) -> str:
        known = self._tokens.get(uid, {}).get((audience, lifetime_s))
        return known.text if known is not None else ""

    def due_s(self, pod: Pod) -> float | None:
        """When the next one must be asked for (monotonic seconds). One that is not there, as after an agent's own
        restart, is asked for at once."""
        uid = pod.metadata.uid
        known, missing_s = self._tokens.get(uid, {}), self._again_s.get(uid, 0.0)
        return min((known[key].refresh_s if key in known else missing_s for key in tokens_wanted(pod)), default=None)

    def forget(self, uid: str) -> None:
        self._tokens.pop(uid, None)
        self._again_s.pop(uid, None)
