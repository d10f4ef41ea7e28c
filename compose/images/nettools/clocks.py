"""Puts the clocks of processes off, by writing into the vdso of each of them (``vdso.py``): plan and question have
``offset_ns``, ``clocks`` (numbers), and whose processes: ``containers`` (ids) or ``cgroups`` (beginnings of names).

Processes that start meanwhile are found by looking again; a forked one has it from its parent, one that calls exec gets
it a moment later. When this is killed it stays until ``clear``. Each injection has a slot of its own: only this one is
given and taken. Needs the processes' pid namespace, CAP_SYS_PTRACE and CAP_DAC_OVERRIDE. Standard library only.
"""

import os
import time
from pathlib import Path

import vdso
from members import ENDED, belongs, processes
from stopped import Busy, check_clear, stopped

LOOK_AGAIN_S = {"containers": 0.02, "cgroups": 0.1}  # a whole machine's processes take longer to look through
YOUNG_S = 2.0  # a process this young may still be on its way into its cgroup
OLD_AGAIN_S = 1.0
WITHIN_S = 4.0


def hold(plan, ready, over):
    image, slot = vdso.Image(), vdso.slot_id(plan["id"])
    clocks = sum(1 << clock for clock in plan["clocks"])
    watch = Watch(plan, lambda slots: slots | {slot: (plan["offset_ns"], clocks)}, image)
    until = time.monotonic() + WITHIN_S
    pause_s = next(pause_s for key, pause_s in LOOK_AGAIN_S.items() if plan.get(key))
    while not watch.look():
        if over() or time.monotonic() > until:
            raise Busy("; ".join(watch.waiting.values()) or "no process of it was found")
        over.wait(pause_s)
    more = f"; {len(watch.unlike)} have another vdso and are not hit" if watch.unlike else ""
    ready(f"code written into their vdso{more}")
    while not over():
        over.wait(pause_s)
        watch.look()
    watch.close()
    clear(plan)


def clear(plan):
    image, slot = vdso.Image(), vdso.slot_id(plan["id"])
    until = time.monotonic() + WITHIN_S
    while True:
        watch = Watch(plan, lambda slots: {name: found for name, found in slots.items() if name != slot}, image)
        watch.look()
        watch.close()
        if not watch.waiting and not watch.changed:
            return
        if time.monotonic() > until:
            raise Busy("; ".join(watch.waiting.values()) or "new processes keep coming")


class Watch:
    """Brings processes to the slots that ``edit`` gives for those that they have.

    Attributes: done: process to its open memory; unlike: those with another vdso; waiting: process to why it could not
    be changed yet; changed: how many were.
    """

    def __init__(self, whose, edit, image):
        self._whose, self._edit, self._image = whose, edit, image
        self._others = {}  # process to (when it was first seen, when it was looked at)
        self.done, self.unlike, self.waiting, self.changed = {}, set(), {}, 0
        self._probe = image.entries["__vdso_clock_gettime"]

    def look(self):
        """Looks at all processes. Whether there are some, and all have what they should."""
        self.waiting = {}
        present = processes()
        for pid in [pid for pid in self.done if pid not in present]:
            self._forget(pid)
        self._others = {pid: seen for pid, seen in self._others.items() if pid in present}
        self.unlike &= present
        for pid in present:
            if not self._settled(pid) and self._concerns(pid):
                self._visit(pid)
        return bool(self.done) and not self.waiting

    def _settled(self, pid):
        """Whether it is as it was left: after exec its old memory is gone."""
        if pid not in self.done:
            return False
        memory, base = self.done[pid]
        try:
            if len(os.pread(memory, 1, base + self._probe)) == 1:
                return True
        except OSError:
            pass
        self._forget(pid)
        return False

    def _forget(self, pid):
        os.close(self.done.pop(pid)[0])

    def _concerns(self, pid):
        if pid in self.unlike:
            return False
        now = time.monotonic()
        first, looked = self._others.get(pid, (now, 0.0))
        if now - first > YOUNG_S and now - looked < OLD_AGAIN_S:
            return False
        if belongs(pid, self._whose):
            self._others.pop(pid, None)
            return True
        self._others[pid] = (first, now)
        return False

    def _visit(self, pid):
        memory = None
        try:
            found = vdso.span(pid)
            if found is None:
                return
            base, length = found
            memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
            slots = self._image.slots(os.pread(memory, length, base))
            if slots is None:
                self.unlike.add(pid)
                return
            if self._edit(slots) != slots:
                self._change(pid, memory, base, length)
                self.changed += 1
            self.done[pid], memory = (memory, base), None
        except ENDED:
            return
        except (Busy, OSError) as error:
            self.waiting[pid] = f"process {pid}: {error}"
        finally:
            if memory is not None:
                os.close(memory)

    def _change(self, pid, memory, base, length):
        with stopped(pid) as threads:
            if vdso.span(pid) != (base, length):
                raise Busy("it has just become another program")
            slots = self._image.slots(os.pread(memory, length, base)) or {}
            check_clear(pid, threads, memory, self._image.unsafe(base))
            for at, content in self._image.patch(self._edit(slots)):
                os.pwrite(memory, content, base + at)

    def close(self):
        for pid in list(self.done):
            self._forget(pid)


def seen(question):
    """What there is of an injection (``id``): how many processes, how many have its slot, and what the code that is in
    them answers when it is run here, against this process's own clock.

    ``off_ns``: number of a clock to how far it is off, ``due_ns``: to what all slots of the process say.
    """
    image, slot = vdso.Image(), vdso.slot_id(question["id"])
    answer = {"processes": 0, "reached": 0, "unlike": 0, "off_ns": {}, "due_ns": {}, "gettimeofday_off_ns": None}
    for pid in sorted(processes()):
        if not belongs(pid, question):
            continue
        try:
            code = _code_of(pid)
        except ENDED:
            continue
        if not code:
            continue
        answer["processes"] += 1
        slots = image.slots(code)
        if slots is None:
            answer["unlike"] += 1
        elif slot in slots:
            answer["reached"] += 1
            if not answer["off_ns"]:
                answer.update(_measured(image, code, slots, question["clocks"]))
    return answer


def _code_of(pid):
    found = vdso.span(pid)
    if found is None:
        return b""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        return os.pread(memory.fileno(), found[1], found[0])


def _measured(image, code, slots, clocks):
    running, totals = vdso.Running(image, code), vdso.totals_ns(slots)
    off = {clock: _difference(lambda clock=clock: running.clock_gettime_ns(clock), clock) for clock in clocks}
    return {"off_ns": off, "due_ns": {clock: totals[clock] for clock in clocks},
            "gettimeofday_off_ns": _difference(running.gettimeofday_ns, time.CLOCK_REALTIME)}


def _difference(read, clock):
    """How far a reading is from this process's own clock, in ns: the middle of two readings around it."""
    before = time.clock_gettime_ns(clock)
    found = read()
    return found - (before + time.clock_gettime_ns(clock)) // 2
