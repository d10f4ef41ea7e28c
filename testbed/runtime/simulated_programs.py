"""The small programs of simulated containers, and the words that a shell has built in.

Decides what each does to files, output and time. Whose command line it is, how it is redirected and what a signal does
is ``simulated_process``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.runtime.simulated_process import Program

_GIGABYTE_S = 0.5  # time in which a program that takes memory takes a gigabyte
_PING_HEADERS = 42  # Ethernet, IP, ICMP
_UNITS = {"": 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "m": 1 << 20, "G": 1 << 30}


class Exit(Exception):
    """The program ends with this code."""

    def __init__(self, code: int, *, out_of_memory: bool = False) -> None:
        super().__init__(code)
        self.code, self.out_of_memory = code, out_of_memory


class Leave(Exception):
    """``break`` or ``continue`` of the innermost loop."""

    def __init__(self, *, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


_Run = Callable[["Program", list[str]], Awaitable[int]]
PROGRAMS: dict[str, _Run] = {}


def _program(*names: str) -> Callable[[_Run], _Run]:
    def register(run: _Run) -> _Run:
        PROGRAMS.update(dict.fromkeys(names, run))
        return run

    return register


@_program("true", ":", "export", "cd", "umask", "set", "ip", "sync")
async def _nothing(program: Program, arguments: list[str]) -> int:
    return 0


@_program("false")
async def _false(program: Program, arguments: list[str]) -> int:
    return 1


@_program("sh", "bash", "dash")
async def _shell(program: Program, arguments: list[str]) -> int:
    if arguments[:1] == ["-c"] and len(arguments) > 1:
        return await program.shell().script(arguments[1])
    return await program.shell().script(program.stdin.decode() if not arguments
                                else program.around.files.read(arguments[0]).decode())


@_program("sleep")
async def _sleep(program: Program, arguments: list[str]) -> int:
    if arguments[0] == "infinity":
        await asyncio.get_running_loop().create_future()
    await program.pause(sum(float(word.rstrip("s")) for word in arguments))
    return 0


@_program("echo")
async def _echo(program: Program, arguments: list[str]) -> int:
    ending = b"\n"
    if arguments[:1] == ["-n"]:
        arguments, ending = arguments[1:], b""
    program.write(" ".join(arguments).encode() + ending)
    return 0


@_program("printf")
async def _printf(program: Program, arguments: list[str]) -> int:
    text = arguments[0].replace("\\n", "\n")
    for value in arguments[1:]:
        text = text.replace("%s", value, 1)
    program.write(text.encode())
    return 0


@_program("printenv")
async def _printenv(program: Program, arguments: list[str]) -> int:
    if not arguments:
        for name, value in sorted(program.variables.items()):
            program.write(f"{name}={value}\n".encode())
        return 0
    if arguments[0] not in program.variables:
        return 1
    program.write(program.variables[arguments[0]].encode() + b"\n")
    return 0


@_program("hostname")
async def _hostname(program: Program, arguments: list[str]) -> int:
    program.write(program.around.hostname.encode() + b"\n")
    return 0


@_program("cat")
async def _cat(program: Program, arguments: list[str]) -> int:
    if not arguments:
        program.write(program.stdin)
    code = 0
    for name in arguments:
        try:
            program.write(program.around.files.read(name))
        except OSError as error:
            program.complain(f"cat: {name}: {error.strerror}\n".encode())
            code = 1
    return code


@_program("ls")
async def _ls(program: Program, arguments: list[str]) -> int:
    for name in [word for word in arguments if not word.startswith("-")] or ["/"]:
        program.write("".join(f"{entry}\n" for entry in program.around.files.entries(name)).encode())
    return 0


@_program("touch")
async def _touch(program: Program, arguments: list[str]) -> int:
    for name in arguments:
        program.around.files.write(name, b"", append=True)
    return 0


@_program("rm")
async def _rm(program: Program, arguments: list[str]) -> int:
    force = any(word.startswith("-") and "f" in word for word in arguments)
    code = 0
    for name in [word for word in arguments if not word.startswith("-")]:
        try:
            program.around.files.remove(name)
        except OSError:
            code = code if force else 1
    return code


@_program("mkdir")
async def _mkdir(program: Program, arguments: list[str]) -> int:
    for name in [word for word in arguments if not word.startswith("-")]:
        program.around.files.make_directory(name)
    return 0


@_program("test", "[")
async def _test(program: Program, arguments: list[str]) -> int:
    words = [word for word in arguments if word != "]"]
    if words[:1] == ["!"]:
        return int(await _test(program, words[1:]) == 0)
    files = program.around.files
    match words:
        case ["-f", name]:
            return int(not files.is_file(name))
        case ["-e", name]:
            return int(not (files.is_file(name) or files.is_directory(name)))
        case ["-d", name]:
            return int(not files.is_directory(name))
        case ["-s", name]:
            return int(not (files.is_file(name) and files.read(name)))
        case ["-n", text] | [text]:
            return int(not text)
        case ["-z", text]:
            return int(bool(text))
        case [left, "=" | "==", right]:
            return int(left != right)
        case [left, "!=", right]:
            return int(left == right)
        case [left, ("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge") as operator, right]:
            return int(not _COMPARED[operator](int(left), int(right)))
    program.complain(f"test: {' '.join(words)}: not understood\n".encode())
    return 2


_COMPARED: dict[str, Callable[[int, int], bool]] = {
    "-eq": int.__eq__, "-ne": int.__ne__, "-lt": int.__lt__, "-le": int.__le__, "-gt": int.__gt__, "-ge": int.__ge__,
}


@_program("head")
async def _head(program: Program, arguments: list[str]) -> int:
    """``head -c SIZE FILE``, of ``/dev/zero`` too."""
    size = re.fullmatch(r"(\d+)([kKmMG]?)", arguments[1])
    if arguments[0] != "-c" or size is None or len(arguments) < 3:
        program.complain(b"head: only: head -c SIZE FILE\n")
        return 2
    count = int(size.group(1)) * _UNITS[size.group(2)]
    program.write(b"\0" * count if arguments[2] == "/dev/zero" else program.around.files.read(arguments[2])[:count])
    return 0


@_program("tail")
async def _tail(program: Program, arguments: list[str]) -> int:
    """``tail /dev/zero`` takes memory until none is left."""
    if arguments != ["/dev/zero"]:
        program.complain(b"tail: only: tail /dev/zero\n")
        return 2
    limit_bytes = program.around.memory_limit_bytes
    if not limit_bytes:
        await asyncio.get_running_loop().create_future()
    await program.pause(limit_bytes / _UNITS["G"] * _GIGABYTE_S)
    raise Exit(137, out_of_memory=True)


@_program("wget")
async def _wget(program: Program, arguments: list[str]) -> int:
    url = arguments[-1]
    try:
        status, body = await program.around.fetch(url)
    except OSError as error:
        program.complain(f"wget: {error.strerror or error}\n".encode())
        return 1
    if status >= 400:
        program.complain(f"wget: server returned error: HTTP/1.1 {status}\n".encode())
        return 1
    program.write(body)
    return 0


@_program("python3")
async def _python(program: Program, arguments: list[str]) -> int:
    """Scripts of our own images only, as the simulation plays them."""
    words = list(arguments)
    while words and words[0].startswith("-"):
        words.pop(0)
    script = program.around.script(words[0]) if words else None
    if script is None:
        program.complain(f"python3: can't open file '{words[0] if words else ''}'\n".encode())
        return 2
    return await script(program, words[1:])


@_program("date")
async def _date(program: Program, arguments: list[str]) -> int:
    now = program.around.now()
    form = next((word[1:] for word in arguments if word.startswith("+")), "%a %b %d %H:%M:%S UTC %Y")
    program.write(now.strftime(form.replace("%s", str(int(now.timestamp())))).encode() + b"\n")
    return 0


@_program("ping")
async def _ping(program: Program, arguments: list[str]) -> int:
    """``ping [-q] [-n] [-c N] [-i S] [-l N] [-s BYTES] [-W S] ADDRESS`` of iputils: answers as they come, a summary."""
    options = {"-c": "4", "-i": "1", "-W": "1", "-l": "1", "-s": "56"}
    for name, value in zip(arguments, arguments[1:], strict=False):
        if name in options:
            options[name] = value
    count, patience_s, address = int(options["-c"]), float(options["-W"]), arguments[-1]
    gap_s = 0.0 if int(options["-l"]) >= count else float(options["-i"])
    echoes = program.around.echo(address, count, gap_s, int(options["-s"]) + _PING_HEADERS)
    times = [one.after_s * 1000 for one in echoes if one.after_s is not None]
    await program.pause(gap_s * (count - 1) + (max(times) / 1000 if len(times) == count else patience_s))
    if "-q" not in arguments:
        for number, one in enumerate(echoes, 1):
            if one.after_s is not None:
                program.write(f"64 bytes from {address}: icmp_seq={number} ttl=64 time={one.after_s * 1000:.3f} ms\n"
                              .encode())
    doubled = sum(one.doubled for one in echoes)
    program.write(f"\n--- {address} ping statistics ---\n{count} packets transmitted, {len(times)} received, "
                  f"{f'+{doubled} duplicates, ' if doubled else ''}"
                  f"{100 * (count - len(times)) / count:g}% packet loss, "
                  f"time 0ms\n".encode())
    if times:
        mean = sum(times) / len(times)
        deviation = (sum((one - mean) ** 2 for one in times) / len(times)) ** 0.5
        program.write(f"rtt min/avg/max/mdev = {min(times):.3f}/{mean:.3f}/{max(times):.3f}/{deviation:.3f} ms\n"
                      .encode())
    return 0 if times else 1


@_program("exit")
async def _exit(program: Program, arguments: list[str]) -> int:
    raise Exit(int(arguments[0]) if arguments else program.status)


@_program("exec")
async def _exec(program: Program, arguments: list[str]) -> int:
    program.traps.clear()
    raise Exit(await program.call(arguments))


@_program("trap")
async def _trap(program: Program, arguments: list[str]) -> int:
    for name in arguments[1:]:
        program.traps[name.removeprefix("SIG")] = ":" if arguments[0] in ("", "-") else arguments[0]
    return 0


@_program("wait")
async def _wait(program: Program, arguments: list[str]) -> int:
    return await program.wait_for_jobs(int(arguments[0]) if arguments else 0)


@_program("break")
async def _break(program: Program, arguments: list[str]) -> int:
    raise Leave(goes_on=False)


@_program("continue")
async def _continue(program: Program, arguments: list[str]) -> int:
    raise Leave(goes_on=True)


def known(argv: tuple[str, ...]) -> bool:
    """Whether there is such a program in a simulated container."""
    names = [word.rsplit("/", 1)[-1] for word in argv[:2]]
    return names[0] in PROGRAMS or (names[0] == "busybox" and names[-1] in PROGRAMS)
