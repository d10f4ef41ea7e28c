"""A process that stands still while it is changed: all its threads are stopped by ptrace, and go on afterwards, also
when who stopped them is killed. Needs CAP_SYS_PTRACE, and CAP_DAC_OVERRIDE to look at others' memory. Standard library
only.
"""

import contextlib
import ctypes
import os
import struct
import time
from pathlib import Path

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17  # linux: include/uapi/linux/ptrace.h
WALL = 0x40000000
LOOK_S = 0.0002
STACK = 64 * 1024  # how much of a stack is looked through for addresses to which a handler will return

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Busy(Exception):
    """It could not be stopped, or stands where it must not, in words: try again."""


def _ptrace(request, thread, data=0):
    if _libc.ptrace(request, thread, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def stopped(pid, within_s=1.0):
    """Stops all threads of a process; gives their ids. Raises: Busy, ProcessLookupError when it has ended."""
    until = time.monotonic() + within_s
    held = {}  # thread to the signal that it is owed
    try:
        while fresh := set(_threads(pid)) - set(held):
            for thread in fresh:
                try:
                    _ptrace(PTRACE_SEIZE, thread)
                except ProcessLookupError:
                    held[thread] = None
                    continue
                except PermissionError as error:
                    raise Busy(f"process {pid} is traced by another") from error
                held[thread] = 0
                _ptrace(PTRACE_INTERRUPT, thread)
            for thread in fresh:
                if held[thread] is not None:
                    held[thread] = _stop_of(thread, until)
        yield [thread for thread, owed in held.items() if owed is not None]
    finally:
        for thread, owed in held.items():
            if owed is not None:
                with contextlib.suppress(OSError):
                    _ptrace(PTRACE_DETACH, thread, owed)


def _threads(pid):
    try:
        return [int(entry.name) for entry in os.scandir(f"/proc/{pid}/task")]
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error


def _stop_of(thread, until):
    """Waits until a thread has stopped; the signal that it was about to get, None when it has ended."""
    while True:
        try:
            found, status = os.waitpid(thread, WALL | os.WNOHANG)
        except ChildProcessError:
            return None
        if found:
            if not os.WIFSTOPPED(status):
                return None
            return 0 if status >> 16 else os.WSTOPSIG(status)
        if time.monotonic() > until:
            raise Busy(f"thread {thread} does not stop (it is frozen, or in the middle of something)")
        time.sleep(LOOK_S)


def check_clear(pid, threads, memory, ranges):
    """``memory``: its /proc/PID/mem. Raises: Busy when a stopped thread stands in one of the ranges of addresses, or
    will return there from the handler of a signal."""
    lowest, highest = min(begin for begin, _ in ranges), max(end for _, end in ranges)
    for thread in threads:
        words = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()
        if words[0] == "running":
            raise Busy(f"thread {thread} runs")
        stack, counter = (int(word, 16) for word in words[-2:])
        if any(_inside(word, ranges) for word in (counter, *_words(memory, stack, lowest, highest))):
            raise Busy(f"thread {thread} is reading a clock")


def _words(memory, stack, lowest, highest):
    """What lies on a stack and may be an address between the two."""
    for length in (STACK, 4096 - stack % 4096):
        with contextlib.suppress(OSError):
            found = os.pread(memory, length, stack)
            return [word for word, in struct.iter_unpack("<Q", found[:len(found) // 8 * 8]) if lowest <= word < highest]
    return []


def _inside(address, ranges):
    return any(begin <= address < end for begin, end in ranges)
