"""Runs stress-ng, in the cgroup that its plan names: ``argv``, ``cgroup`` (part of that group's path),
``oom_score_adj``; ``quota`` {"group", "cpus"}: for a node with CPUs of its own, so many for all of its group together.

stress-ng's process, the only child of this one, is moved into the cgroup from outside and does not begin before; this
one stays where it is. stress-ng and its workers die with it (PR_SET_PDEATHSIG), and with the target's pid namespace:
only a quota is left to clear.

``used({"for_s": 0.2})`` tells what the stress takes: {"cpus", "memory_bytes", "processes"}.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

NOTE, LOG = Path("/tmp/stress.session"), Path("/tmp/stress.log")
INSTANCE = Path("/instance")  # the cluster's own cgroup, mounted where a node's quota is set
PERIOD_US = 100_000
JOINED_WITHIN_S, BEGUN_WITHIN_S, ENDED_WITHIN_S, LOOK_S = 8.0, 8.0, 2.0, 0.005
PR_SET_PDEATHSIG = 1
COUNTED = ("cpu", "cpuacct", "memory", "")  # controllers; the last is the unified hierarchy's


def hold(plan, ready, over):
    score = set_score(plan.get("oom_score_adj", 0))
    limit_group(plan)
    limit = [] if over.left_s() == float("inf") else ["--timeout", str(int(over.left_s()) + 2)]
    argv = ["stress-ng", *plan["argv"], "--no-oom-adjust", "--temp-path", "/tmp"]
    if "--timeout" not in plan["argv"]:
        argv += limit
    child = begun(argv, plan.get("cgroup", ""))
    NOTE.write_text(str(child.pid))
    try:
        wait_until_begun(child, over)
        where = "in the target's cgroup" if plan.get("cgroup") else "in its node's cgroup"
        ready(f"stress-ng {where}, {' '.join(plan['argv'])}{score}")
        while not over():
            over.wait(0.5)
            limit_group(plan)  # another pressure on the same node may have ended, and lifted it
            if child.poll() is not None:
                if child.returncode:
                    raise RuntimeError(f"stress-ng ended with {child.returncode}: {last_words()}")
                over.wait()
    finally:
        end_session(child)
        clear(plan)


def clear(plan):
    limit_group(plan, lift=True)


def limit_group(plan, lift=False):
    """A group that is gone limits nobody."""
    if "quota" not in plan:
        return
    group, microseconds = INSTANCE / plan["quota"]["group"], int(plan["quota"]["cpus"] * PERIOD_US)
    for name, limited, free in (("cpu.max", f"{microseconds} {PERIOD_US}", f"max {PERIOD_US}"),
                                ("cpu.cfs_quota_us", str(microseconds), "-1")):
        wanted = free if lift else limited
        with contextlib.suppress(FileNotFoundError):
            if (group / name).read_text().strip() != wanted:
                (group / name).write_text(wanted)


def begun(argv, cgroup):
    """The process, when it has been moved and runs ``argv``."""
    libc, until = ctypes.CDLL(None), time.monotonic() + JOINED_WITHIN_S

    def before_it_runs():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        while cgroup and not joined(cgroup):
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(LOOK_S)

    try:
        with LOG.open("wb") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                    preexec_fn=before_it_runs)
    except subprocess.SubprocessError:
        raise RuntimeError("stress-ng was not moved into the target's cgroup") from None


def joined(cgroup):
    """Whether every hierarchy that counts has this process there."""
    lines = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    counted = [(names, path) for names, path in lines if any(name in COUNTED for name in names.split(","))]
    if len(counted) > 1:  # cgroup v1, whose unified hierarchy counts nothing
        counted = [(names, path) for names, path in counted if names]
    return all(cgroup in path for names, path in counted)


def set_score(wanted):
    if not wanted:
        return ""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(wanted))
    except OSError:
        return f"; oomScoreAdj {wanted} needs CAP_SYS_RESOURCE, it stays 0"
    return f"; oomScoreAdj {wanted}"


def wait_until_begun(child, over):
    """Until it has workers."""
    until = time.monotonic() + BEGUN_WITHIN_S
    while not over() and len(members(child.pid)) < 2:
        if child.poll() is not None:
            if child.returncode == 0:
                return
            raise RuntimeError(f"stress-ng ended with {child.returncode}: {last_words()}")
        if time.monotonic() > until:
            raise RuntimeError("stress-ng has no workers")
        time.sleep(LOOK_S)


def last_words():
    lines = LOG.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-2:])[-300:] or "it said nothing"


def end_session(child):
    """What is frozen (cgroup v1) ends when it is thawed: it has its signal."""
    until = time.monotonic() + ENDED_WITHIN_S
    while (left := members(child.pid)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_S)
        child.poll()


def members(session):
    """Processes of a session: pid to the fields of its stat from the third on."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = Path(entry.path, "stat").read_text()
                fields = text[text.rindex(")") + 2 :].split()
                if int(fields[3]) == session and fields[0] not in ("Z", "X"):
                    found[int(entry.name)] = fields
    return found


def used(question):
    """``memory_bytes``: the most at once; what is killed for its memory and begins again holds little in between."""
    session = int(NOTE.read_text())
    before, begun, most = spent_s(session), time.monotonic(), 0
    while time.monotonic() - begun < question["for_s"]:
        time.sleep(0.01)
        most = max(most, held_bytes(session))
    took_s = time.monotonic() - begun
    return {"cpus": (spent_s(session) - before) / took_s, "memory_bytes": most, "processes": len(members(session))}


def spent_s(session):
    """CPU seconds: own (fields 14, 15 of stat) and of children that have ended (16, 17)."""
    ticks = sum(sum(int(value) for value in fields[11:15]) for fields in members(session).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def held_bytes(session):
    total = 0
    for pid in members(session):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
    return total
