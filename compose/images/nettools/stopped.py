"""A process that stands still while it is changed: all its threads are stopped by ptrace, and go on afterwards, also
when who stopped them is killed. Needs CAP_SYS_PTRACE, and CAP_DAC_OVERRIDE to look at others' memory. Standard library
only.
"""

import contextlib
import ctypes
import os
import signal
import struct
import time
from pathlib import Path

# linux: include/uapi/linux/ptrace.h
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, PTRACE_SINGLESTEP = 0x4206, 0x4207, 17, 9
PTRACE_GETREGS, PTRACE_SETREGS = 12, 13  # x86_64
WALL = 0x40000000
LOOK_S = 0.0002
CALL_S = 1.0
STACK = 64 * 1024  # how much of a stack is looked through for addresses to which a handler will return

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
Registers = ctypes.c_uint64 * 27  # linux: arch/x86/include/asm/user_64.h
R10, R9, R8, RAX, RDX, RSI, RDI, ORIG_RAX, RIP = 7, 8, 9, 10, 12, 13, 14, 15, 16


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


class Caller:
    """Has a stopped thread make system calls, as a debugger has it call functions; afterwards it is as it was. x86_64.

    ``instruction``: address of a ``syscall`` in the process. The other threads must be stopped too.
    """

    def __init__(self, pid, thread, instruction):
        self._pid, self._thread, self._instruction = pid, thread, instruction
        self._before = Registers()
        self._signals = []

    def __enter__(self):
        _ptrace(PTRACE_GETREGS, self._thread, ctypes.addressof(self._before))
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            _ptrace(PTRACE_SETREGS, self._thread, ctypes.addressof(self._before))
        for number in self._signals:
            _libc.tgkill(self._pid, self._thread, number)

    def __call__(self, number, *arguments):
        """What the call returns. Raises: OSError for its error; one that takes long is interrupted."""
        registers = Registers(*self._before)
        registers[RAX], registers[RIP], registers[ORIG_RAX] = number, self._instruction, 2**64 - 1
        for place, argument in zip((RDI, RSI, RDX, R10, R8, R9), arguments, strict=False):
            registers[place] = argument & (2**64 - 1)
        _ptrace(PTRACE_SETREGS, self._thread, ctypes.addressof(registers))
        while (came := self._step()) and came != signal.SIGTRAP:
            self._signals.append(came)
        _ptrace(PTRACE_GETREGS, self._thread, ctypes.addressof(registers))
        result = ctypes.c_int64(registers[RAX]).value
        if -4096 < result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def _step(self):
        """Lets it make one step; the signal with which it stops, 0 when it was interrupted."""
        _ptrace(PTRACE_SINGLESTEP, self._thread)
        try:
            came = _stop_of(self._thread, time.monotonic() + CALL_S)
        except Busy:  # it may not be left like this, in the middle of what it does not know of
            _ptrace(PTRACE_INTERRUPT, self._thread)
            came = _stop_of(self._thread, float("inf"))
        if came is None:
            raise ProcessLookupError(f"thread {self._thread} has ended")
        return came


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
