"""Which lines of our own processes are about one pod, node, fault or other object, up to the recovery. Pure.

What is asked for is found by its name. From there one id leads on: the pod's ``pod_uid``, which the chaos daemon's
lines about its victim and the agent's, the controllers' and the gateway's lines about that pod all have, or a node's
name. The healer is never told of a fault, so a fault's own name leads only to whom it hit. When a pod that is meant
was hit or ends, what its controller makes from then on counts as made in its place.
"""

from __future__ import annotations

from testbed.api.log_lines import CONTAINER_ID, FAULT, NODE, OBJECT, OWNER, POD, POD_UID, REASON, LogLine

_LOST = frozenset({"Killing", "Evicted", "TaintManagerEviction", "NodeNotReady", "Preempted", "SuccessfulDelete",
                   "EndpointTerminating", "EndpointGone"})
_MADE = "SuccessfulCreate"
_MOST_LIKE = 5
_SHORTEST_ID = 6  # characters of a uid or a container's id that stand for all of it
_KINDS = {"pod": POD, "pods": POD, "po": POD, "node": NODE, "nodes": NODE, "no": NODE, "fault": FAULT}


class Trail:
    """``word``: ``web-1``, ``default/web-1``, ``pod/web-1``, ``node-1``, ``PodChaos/crash``, ``Deployment/web``, the
    beginning of a uid or of a container's id."""

    def __init__(self, word: str) -> None:
        kind, _, rest = word.partition("/")
        self._only = _KINDS.get(kind.lower(), "") if rest else ""
        self._word = rest if self._only else word
        self._uids: set[str] = set()
        self._nodes: set[str] = set()
        self._owner_of: dict[str, str] = {}  # a pod's uid: its controller
        self._replacing: set[str] = set()  # controllers that lost a pod that is meant
        self.like: list[str] = []  # the newest names that only contain the word: who is shown nothing may mean these

    def takes(self, line: LogLine) -> bool:
        """Whether the next line, in the order of their times, is about it."""
        fields = line.fields
        uid, owner = fields.get(POD_UID, ""), fields.get(OWNER, "")
        if uid and owner:
            self._owner_of[uid] = owner
        named = self._names(line)
        made = fields.get(REASON) == _MADE and bool(uid) and owner in self._replacing
        if not (named or made or uid in self._uids or fields.get(NODE, "") in self._nodes):
            self._remember_like(line)
            return False
        self._learn(line, whole_pod=made or (named and self._leads_to_pod(line)))
        return True

    def _names(self, line: LogLine) -> bool:
        fields, word = line.fields, self._word
        names = [fields.get(name, "") for name in (POD, NODE, FAULT, OBJECT) if self._only in ("", name)]
        ids = [fields.get(name, "") for name in (POD_UID, CONTAINER_ID)] if len(word) >= _SHORTEST_ID else []
        return any(_named(name, word) for name in names if name) or any(text.startswith(word) for text in ids)

    def _remember_like(self, line: LogLine) -> None:
        for name in (line.fields.get(field, "") for field in (FAULT, POD, NODE, OBJECT)):
            if self._word in name and name not in self.like:
                self.like = [*self.like, name][-_MOST_LIKE:]

    def _leads_to_pod(self, line: LogLine) -> bool:
        """Not when a node was named, which has many pods, or the object that it is an event of."""
        fields = line.fields
        return not any(fields.get(name) and _named(fields[name], self._word) for name in (NODE, OBJECT))

    def _learn(self, line: LogLine, *, whole_pod: bool) -> None:
        fields = line.fields
        uid = fields.get(POD_UID, "")
        if uid and whole_pod:
            self._uids.add(uid)
        elif FAULT in fields and fields.get(NODE) and not uid:
            self._nodes.add(fields[NODE])  # a fault that hits a whole node
        lost = FAULT in fields or fields.get(REASON) in _LOST
        owner = self._owner_of.get(uid, "")
        if lost and owner:
            self._replacing.add(owner)


def _named(name: str, word: str) -> bool:
    """``Kind/namespace/name`` by its end, or without its namespace."""
    parts = name.split("/")
    return name == word or name.endswith(f"/{word}") or (len(parts) == 3 and f"{parts[0]}/{parts[2]}" == word)
