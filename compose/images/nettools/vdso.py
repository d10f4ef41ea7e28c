"""The vdso: the code that the kernel maps into every process for reading clocks without a system call, and what is
written into it to put a process's clocks off.

Decides what is written where, and reads it back; stopping processes and writing is ``clocks.py``'s. In the zeros at
the end of the image (no code of the kernel's is there) goes an *area*: three routines, the offset of each clock, and
one slot for each injection, so that several add up and each is taken back alone. The first five bytes of
``clock_gettime``, ``gettimeofday`` and ``time`` become a jump to it. The vdso is the same in all 64-bit processes of a
machine, so the original bytes are always at hand: in the reader's own. Standard library only; x86_64 only.
"""

import ctypes
import hashlib
import mmap
import platform
import struct
from pathlib import Path

# Assembled with GNU as. Each does the system call that the function of this name stands for, and adds. They change only
# registers that a callee may change, and the red zone of no caller.
#
#   clock_gettime:              # edi: clock, rsi: timespec
#       mov   $228, %eax        # __NR_clock_gettime
#       syscall
#       test  %eax, %eax
#       jne   1f                # an error: it is the answer
#       cmp   $11, %edi
#       ja    1f                # a clock of a device or another process
#       mov   %edi, %ecx
#       shl   $4, %ecx
#       lea   totals(%rip), %rdx
#       add   %rdx, %rcx        # this clock's offset: seconds, nanoseconds (0 to 999999999)
#       mov   8(%rsi), %rdx
#       add   8(%rcx), %rdx
#       mov   (%rcx), %rcx
#       cmp   $1000000000, %rdx
#       jl    2f
#       sub   $1000000000, %rdx
#       inc   %rcx
#   2:  mov   %rdx, 8(%rsi)
#       add   %rcx, (%rsi)
#   1:  ret
#       .balign 16
#   gettimeofday:               # rdi: timeval, rsi: timezone
#       mov   $96, %eax         # __NR_gettimeofday
#       syscall
#       test  %eax, %eax
#       jne   1f
#       test  %rdi, %rdi
#       je    1f
#       mov   totals(%rip), %rcx
#       mov   micros(%rip), %rdx
#       add   8(%rdi), %rdx
#       cmp   $1000000, %rdx
#       jl    2f
#       sub   $1000000, %rdx
#       inc   %rcx
#   2:  mov   %rdx, 8(%rdi)
#       add   %rcx, (%rdi)
#   1:  ret
#       .balign 16
#   time:                       # rdi: where to put it, or 0
#       sub   $24, %rsp
#       mov   %rdi, 16(%rsp)
#       xor   %edi, %edi        # CLOCK_REALTIME
#       mov   %rsp, %rsi
#       mov   $228, %eax
#       syscall
#       mov   (%rsp), %rax
#       mov   8(%rsp), %rdx
#       add   totals(%rip), %rax
#       add   totals+8(%rip), %rdx
#       cmp   $1000000000, %rdx
#       jl    2f
#       inc   %rax
#   2:  mov   16(%rsp), %rdi
#       add   $24, %rsp
#       test  %rdi, %rdi
#       je    1f
#       mov   %rax, (%rdi)
#   1:  ret
#       .org  256
#   totals:                     # 12 clocks
#       .org  256 + 12 * 16
#   micros: .quad 0             # the nanoseconds of clock 0, in microseconds
CODE = bytes.fromhex(
    "b8e40000000f0585c0753983ff0b773489f9c1e104488d15e40000004801d1488b560848035108488b094881fa00ca9a3b7c0a4881ea00ca"
    "9a3b48ffc148895608"
    "48010ec366662e0f1f840000000000b8600000000f0585c075314885ff742c488b0d99000000488b1552010000480357084881fa40420f00"
    "7c0a4881ea40420f0048ffc14889570848010fc30f1f00"
    "4883ec1848897c241031ff4889e6b8e40000000f05488b0424488b5424084803054b0000004803154c0000004881fa00ca9a3b7c0348ffc0"
    "488b7c24104883c4184885ff7403488907c3").ljust(256, b"\0")
ROUTINES = {"__vdso_clock_gettime": 0x00, "__vdso_gettimeofday": 0x50, "__vdso_time": 0x90}
NR_CLOCKS = 12
MAGIC = b"testbed clocks 1"
SLOTS = 8
SLOT = struct.Struct("<8sqQ")  # injection, nanoseconds, set of clocks
HEAD = len(CODE) + NR_CLOCKS * 16 + 8
AREA = (HEAD + len(MAGIC) + SLOTS * SLOT.size + 15) & ~15
JUMP = 5


class Unfit(Exception):
    """This machine's vdso cannot be changed so, in words."""


def slot_id(injection):
    return hashlib.sha256(injection.encode()).digest()[:8]


def span(pid):
    """(address, length) of a process's vdso; None when it has none (it has ended). Raises: OSError."""
    with Path(f"/proc/{pid}/maps").open("rb") as maps:
        for line in maps:
            if line.endswith(b"[vdso]\n"):
                begin, end = (int(part, 16) for part in line.split(b" ", 1)[0].split(b"-"))
                return begin, end - begin
    return None


class Image:
    """The vdso as the kernel made it. Raises: Unfit."""

    def __init__(self):
        if platform.machine() != "x86_64":
            raise Unfit(f"clocks of processes can be put off on x86_64 only, and this machine is {platform.machine()}")
        found = span("self")
        if found is None:
            raise Unfit("this kernel gives processes no vdso")
        self.bytes = ctypes.string_at(*found)
        self.entries = {name: address for name, address in _functions(self.bytes) if name in ROUTINES}
        if "__vdso_clock_gettime" not in self.entries:
            raise Unfit("this kernel's vdso has no clock_gettime")
        self.area = len(self.bytes) - AREA
        if self.bytes[self.area:].strip(b"\0"):
            raise Unfit(f"this kernel's vdso has less than {AREA} bytes to spare")

    def jump(self, name):
        return b"\xe9" + struct.pack("<i", self.area + ROUTINES[name] - (self.entries[name] + JUMP))

    def slots(self, seen):
        """Injection to (nanoseconds, set of clocks) of what was read from a process; None when it is another vdso (of
        a 32-bit program), or someone else has changed it: every byte must be the kernel's or ours, for it may be run
        (``Running``)."""
        if len(seen) != len(self.bytes):
            return None
        rest = bytearray(seen[:self.area])
        for name, at in self.entries.items():
            if rest[at:at + JUMP] == self.jump(name):
                rest[at:at + JUMP] = self.bytes[at:at + JUMP]
        area = seen[self.area:]
        found = (SLOT.unpack_from(area, HEAD + len(MAGIC) + index * SLOT.size) for index in range(SLOTS))
        slots = {name: (offset, clocks) for name, offset, clocks in found if clocks}
        return slots if rest == self.bytes[:self.area] and area == self._area(slots) else None

    def _area(self, slots):
        if not slots:
            return bytes(AREA)
        totals = [divmod(total, 10**9) for total in totals_ns(slots)]
        area = CODE + b"".join(struct.pack("<qq", *total) for total in totals) + struct.pack("<q", totals[0][1] // 1000)
        area += MAGIC + b"".join(SLOT.pack(name, *slots[name]) for name in sorted(slots))
        return area.ljust(AREA, b"\0")

    def patch(self, slots):
        """(offset, bytes) to write, in this order, so that it has these slots; with none: as the kernel made it.

        Raises: Unfit when there are too many.
        """
        if not slots:
            return [*((at, self.bytes[at:at + JUMP]) for at in self.entries.values()), (self.area, self._area(slots))]
        if len(slots) > SLOTS:
            raise Unfit(f"at most {SLOTS} offsets of one process's clocks add up")
        return [(self.area, self._area(slots)), *((at, self.jump(name)) for name, at in self.entries.items())]

    def system_call(self):
        """Where it has the instruction ``syscall``. Raises: Unfit."""
        at = self.bytes.find(b"\x0f\x05")
        if at < 0:
            raise Unfit("this kernel's vdso makes no system call")
        return at

    def unsafe(self, base):
        """Ranges of addresses, end excluded, in which no thread may stand when it is changed."""
        return [(base + self.area, base + len(self.bytes)),
                *((base + at + 1, base + at + JUMP) for at in self.entries.values())]


def totals_ns(slots):
    return [sum(offset for offset, clocks in slots.values() if clocks >> clock & 1) for clock in range(NR_CLOCKS)]


def _functions(image):
    """(name, offset) of what an ELF image exports (elf(5)); its symbol names follow its symbols."""
    offset, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    heads = [struct.unpack_from("<IIQQQQQQ", image, offset + size * index) for index in range(count)]
    dynamic = next(head for head in heads if head[0] == 2)  # PT_DYNAMIC
    tags = dict(struct.iter_unpack("<QQ", image[dynamic[2]:dynamic[2] + dynamic[5] // 16 * 16]))
    names, symbols = tags[5], tags[6]  # DT_STRTAB, DT_SYMTAB
    for at in range(symbols, names, 24):
        name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        if value:
            yield image[names + name:image.index(b"\0", names + name)].decode(), value


class Running:
    """Bytes of a vdso, as code in this process: its functions are called as the process calls them from which they
    were read. Only those that jump to the area may be called: the kernel's own need its data beside them."""

    def __init__(self, image, seen):
        self._memory = mmap.mmap(-1, len(seen), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(seen)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._entries = image.entries

    def _function(self, name, result, *arguments):
        return ctypes.CFUNCTYPE(result, *arguments)(self._base + self._entries[name])

    def clock_gettime_ns(self, clock):
        value = (ctypes.c_int64 * 2)()
        self._function("__vdso_clock_gettime", ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(clock, value)
        return value[0] * 10**9 + value[1]

    def gettimeofday_ns(self):
        value = (ctypes.c_int64 * 2)()
        self._function("__vdso_gettimeofday", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(value, None)
        return value[0] * 10**9 + value[1] * 1000

    def time_s(self):
        return self._function("__vdso_time", ctypes.c_int64, ctypes.c_void_p)(None)
