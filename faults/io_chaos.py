"""IOChaos: operations on the files of a volume are late (``latency``) or fail (``fault``).

A FUSE file system is mounted over the volume in the container's own view of the file system; it passes everything
through but for what the object names. Other containers that mount the same volume are not hit. Who has opened a file
before keeps it as it was. A restart of the container cures it. Meaning of the fields: chaos-mesh:
api/v1alpha1/iochaos_types.go, podiochaos_types.go.

The holder's program is ``files.py`` of the tools image. Looks: ``volume_look.seen``, asked with the plan of the hold,
``id`` and ``for_s``; it answers what an operation met in the container's view: ``method`` and ``path`` (empty: none
could be tried without harm), ``tries``, ``met`` (of those: how many met the error or took at least the delay),
``errno`` and ``took_s`` of the last that did, ``mounted``.
"""

from __future__ import annotations

import errno as numbers
import os
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from faults import holder_container
from faults.containers import locate
from faults.durations import PATTERN, seconds
from faults.effects import Effect, Files
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import IO_CHAOS
from faults.protocol import Aim, Drawing, Json, NotInEffect, Refused, Target, TargetGone, Tools
from testbed.api.resources import PODS
from testbed.errors import Mistake, NotFound

METHODS = (
    "lookup", "forget", "getattr", "setattr", "readlink", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename",
    "link", "open", "read", "write", "flush", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir",
    "statfs", "setxattr", "getxattr", "listxattr", "removexattr", "access", "create", "getlk", "setlk", "bmap",
)
# What the kernel decides alone, or asks nobody about: a fault of these can never be met.
UNMET = frozenset({"forget", "release", "releasedir", "access", "getlk", "setlk", "bmap"})
# Mounts, enters the container, and does with files whatever their owners may.
CAPABILITIES = ("SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "DAC_OVERRIDE", "CHOWN", "FOWNER", "FSETID", "MKNOD",
                "SETFCAP")
# Of the engine's own rules only AppArmor's forbids to mount; without AppArmor it says nothing.
SECURITY = ("no-new-privileges", "apparmor=unconfined")
MAX_DELAY_S = 600.0
_SHARES_TRIED_S = 3.0  # how long a look goes on until it has met what only a share of operations meets

_FIELDS: Mapping[str, Json] = {
    "volumePath": {"type": "string", "minLength": 1, "description": "Where the volume is mounted in the container."},
    "path": {"type": "string", "description": "Which files: a path, or a pattern such as /data/**/*; default: all."},
    "methods": {"type": "array", "items": {"type": "string", "enum": list(METHODS)},
                "description": "Which operations, by FUSE's names; default: all."},
    "percent": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Of the operations; default: 100."},
    "delay": {"type": "string", "pattern": PATTERN, "maxLength": 64, "description": "latency: how late they are."},
    "errno": {"type": "integer", "minimum": 0, "description": "fault: the number of their error."},
    "attr": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
             "description": "attrOverride, which is left out."},
    "mistake": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                "description": "mistake, which is left out."},
}


class IoChaos(HeldFault):
    """What both actions share."""

    kind = IO_CHAOS
    level = "container"
    first_container = True
    fields = _FIELDS
    required = ("volumePath",)
    needs = ("fuse",)
    after_restart = "container"
    left_out = {
        "attrOverride": "files whose attributes are lies break an application in ways that no disk does",
        "mistake": "it would write wrong bytes into the volume, and no undo gives those back",
    }

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        found = [*self.own_mistakes(spec)]
        volume, path = str(spec["volumePath"]), str(spec.get("path") or "")
        if not volume.startswith("/") or posixpath.normpath(volume) == "/":
            found.append(Mistake("must be the absolute path of a volume, not of the root", "spec.volumePath"))
        elif path and not _may_match(posixpath.normpath(volume), path):
            found.append(Mistake(f"matches nothing in {volume}: it is an absolute path or pattern", "spec.path"))
        if spec.get("percent") == 0:
            found.append(Mistake("0 percent changes nothing", "spec.percent"))
        if spec.get("methods") and set(spec["methods"]) <= UNMET:
            found.append(Mistake("the kernel asks a file system none of these, or takes no error for them",
                                 "spec.methods"))
        return tuple(found)

    def own_mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        raise NotImplementedError

    def meets(self, spec: Mapping[str, Any]) -> Json:
        """``delay_ns`` and ``errno`` of what an operation meets."""
        raise NotImplementedError

    def verify_within_s(self, plan: Json) -> float:
        return 10.0 + float(plan["hold"]["plan"]["delay_ns"]) / 1e9

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        volume = posixpath.normpath(aim.spec["volumePath"])
        await _check_mounted(tools, aim.target, volume)
        container = (await locate(tools, aim.target))["container_id"]
        percent = aim.spec.get("percent")
        rule = {
            "container": container, "volume": volume,
            "path": aim.spec.get("path") or "", "methods": sorted(aim.spec.get("methods") or ()),
            "percent": 100 if percent is None else percent, **self.meets(aim.spec),
        }
        hold = Hold(aim.entry_id, self.name, "files", rule, container, aim.deadline_ns, pid=True,
                    cap_add=CAPABILITIES, devices=("/dev/fuse",), security_opt=SECURITY)
        return {"container_id": container, "hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        hold = Hold.from_json(plan["hold"])
        rule = hold.plan
        question = {"id": hold.entry_id, "for_s": _SHARES_TRIED_S, **rule}
        seen = await holder_container.look(tools, holder, "volume_look.seen", question,
                                           within_s=10.0 + 4 * rule["delay_ns"] / 1e9)
        return told(rule, seen)

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        rule = plan["hold"]["plan"]
        return (Files(plan["container_id"], rule["volume"], rule["path"].replace("**/", "*"), tuple(rule["methods"]),
                      rule["delay_ns"] / 1e9, rule["errno"], rule["percent"] / 100),)


async def _check_mounted(tools: Tools, target: Target, volume: str) -> None:
    """Raises: Refused when the container mounts no volume there; TargetGone when there is no such pod."""
    try:
        pod = await tools.client.get(PODS, target.pod, target.namespace)
    except NotFound as error:
        raise TargetGone(f"there is no pod {target.pod}") from error
    spec: Json = next((item for item in pod["spec"]["containers"] if item["name"] == target.container), {})
    mounted = sorted(posixpath.normpath(item["mountPath"]) for item in spec.get("volumeMounts") or ())
    if volume not in mounted:
        raise Refused(f"container {target.id} has no volume mounted at {volume}",
                      hint="its volumes: " + (", ".join(mounted) or "none"))


def told(rule: Json, seen: Json) -> str:
    """What was seen, in words. Raises: NotInEffect."""
    if not seen["mounted"]:
        raise NotInEffect(f"nothing is mounted over {rule['volume']} in the container")
    if not seen["method"]:
        return f"{rule['volume']} is served; nothing there could be tried without changing it"
    what = f"{seen['method']} of {seen['path']}"
    if not seen["met"]:
        raise NotInEffect(f"{what}: {seen['tries']} tries met nothing")
    share = f" in {seen['met']} of {seen['tries']} tries" if rule["percent"] < 100 else ""
    if rule["errno"]:
        return f"{what} fails with {numbers.errorcode.get(seen['errno'], seen['errno'])}{share}"
    return f"{what} takes {seen['took_s'] * 1000:.1f} ms{share}"


def _may_match(volume: str, pattern: str) -> bool:
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    if literal == pattern:
        return pattern == volume or pattern.startswith(f"{volume}/")
    return literal.startswith(f"{volume}/") or f"{volume}/".startswith(literal)


class IoLatency(IoChaos):
    action = "latency"
    summary = "operations on the files of a volume are late"
    example = {"volumePath": "/data", "delay": "100ms"}
    drawn = Drawing("slow files", "#16a085")

    def own_mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        try:
            delay_s = seconds(str(spec.get("delay") or ""))
        except ValueError as error:
            return (Mistake(f"action latency needs it: {error}", "spec.delay"),)
        return () if 0 < delay_s <= MAX_DELAY_S else (Mistake("must be more than 0 and at most 10m", "spec.delay"),)

    def meets(self, spec: Mapping[str, Any]) -> Json:
        return {"delay_ns": int(seconds(spec["delay"]) * 1e9), "errno": 0}


class IoFault(IoChaos):
    action = "fault"
    summary = "operations on the files of a volume fail"
    example = {"volumePath": "/data", "errno": 5, "methods": ["open", "read", "write"]}
    drawn = Drawing("failing files", "#c0392b")

    def own_mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        number = spec.get("errno") or 0
        if number not in numbers.errorcode:
            return (Mistake(f"action fault needs the number of an error, such as 5 ({os.strerror(5)}); not {number}",
                            "spec.errno"),)
        return ()

    def meets(self, spec: Mapping[str, Any]) -> Json:
        return {"delay_ns": 0, "errno": spec["errno"]}
