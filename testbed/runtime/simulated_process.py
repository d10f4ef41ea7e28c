"""Runs the commands of simulated containers in the loop's time: a process, its shell with traps, and its jobs.

Decides what a command line does to output, variables and time, and what a signal does to it; what the programs do that
it calls is in ``simulated_programs``. As process 1 a shell dies of no signal that it has no trap for; a trap runs when
the command before it has ended, or at once during ``wait``. A frozen process does nothing: what was due meanwhile
happens when it is thawed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from testbed.errors import InvalidInput
from testbed.runtime.simulated_damage import Echo
from testbed.runtime.simulated_files import SimulatedFiles
from testbed.runtime.simulated_programs import PROGRAMS, Exit, Leave
from testbed.runtime.simulated_shell import NAME, Both, For, If, Loop, Node, Not, Sequence, Simple, Word, parse

_STEP_S = 0.0005  # of one command: no loop is endless in no time
_FROZEN_LOOK_S = 0.02
_SIGNALS = {"TERM": int(signal.SIGTERM), "INT": int(signal.SIGINT), "USR1": int(signal.SIGUSR1)}


class Surroundings(Protocol):
    """What a program can see of the container it runs in."""

    files: SimulatedFiles
    hostname: str
    memory_limit_bytes: int

    def frozen(self) -> bool: ...

    async def fetch(self, url: str) -> tuple[int, bytes]:
        """Status and body of a GET. Raises: OSError."""
        ...

    def echo(self, address: str, count: int, gap_s: float, size_bytes: int) -> list[Echo]:
        """Echo requests."""
        ...

    def now(self) -> datetime:
        """What the clock shows to its processes."""
        ...

    def script(self, path: str) -> Callable[[Program, list[str]], Awaitable[int]] | None:
        """What ``python3 <path>`` runs."""
        ...


@dataclass
class Program:
    """One run. ``write``: takes its output, lines whole. ``stdin``: what it reads."""

    around: Surroundings
    variables: dict[str, str]
    write: Callable[[bytes], None]
    stdin: bytes = b""
    complain: Callable[[bytes], None] = field(init=False)  # of its errors
    traps: dict[str, str] = field(default_factory=dict)
    status: int = 0
    _pending: list[str] = field(default_factory=list)
    _signal: asyncio.Event = field(default_factory=asyncio.Event)
    _jobs: list[asyncio.Task[int]] = field(default_factory=list)
    _shell: bool = False  # it is a shell already: another one is a process of its own

    def __post_init__(self) -> None:
        self.complain = self.write

    def signalled(self, number: int) -> bool:
        """False when it has no trap for it."""
        name = next((name for name, value in _SIGNALS.items() if value == number), "")
        if name not in self.traps:
            return False
        self._pending.append(name)
        self._signal.set()
        return True

    async def run(self, argv: tuple[str, ...]) -> int:
        """The exit code. Raises: Exit only when it ran out of memory."""
        try:
            code = await self.call(list(argv))
            await self._take_signals()
        except Exit as ended:
            code = ended.code
            if ended.out_of_memory:
                raise
        finally:
            for job in self._jobs:
                job.cancel()
        return code

    async def script(self, text: str) -> int:
        try:
            tree = parse(text)
        except InvalidInput as error:
            self.complain(f"sh: {error}\n".encode())
            return 2
        try:
            self.status = await self._execute(tree)
        except Exit as ended:
            if ended.out_of_memory:
                raise
            self.status = ended.code
        code = self.status
        if "EXIT" in self.traps:
            await self._execute(parse(self.traps.pop("EXIT")))
        return code

    def shell(self) -> Program:
        """Itself, or a child with its variables and files, and no traps."""
        if not self._shell:
            self._shell = True
            return self
        child = Program(self.around, dict(self.variables), self.write, self.stdin, _shell=True)
        child.complain = self.complain
        return child

    async def pause(self, seconds: float) -> None:
        """Sleeps; a frozen process is late."""
        await asyncio.sleep(seconds)
        while self.around.frozen():  # noqa: ASYNC110  (a cgroup tells nobody)
            await asyncio.sleep(_FROZEN_LOOK_S)

    async def until_signalled(self, at_most_s: float) -> bool:
        """Waits for a signal that there is a trap for; False when the time has passed without one."""
        if not self._pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(at_most_s):
                    await self._signal.wait()
        await self.pause(0)
        return bool(self._pending)

    async def _take_signals(self) -> None:
        while self._pending:
            self._signal.clear()
            await self._execute(parse(self.traps[self._pending.pop(0)]))

    # --- the tree

    async def _execute(self, node: Node) -> int:
        match node:
            case Sequence(commands):
                for command, background in commands:
                    if background:
                        self._jobs.append(asyncio.get_running_loop().create_task(self._in_background(command)))
                        self.status = 0
                    else:
                        self.status = await self._execute(command)
                return self.status
            case Both(first, second, on_success):
                self.status = await self._execute(first)
                return await self._execute(second) if (self.status == 0) is on_success else self.status
            case Not(command):
                return int(await self._execute(command) == 0)
            case If(condition, then, otherwise):
                if await self._execute(condition) == 0:
                    return await self._execute(then)
                return await self._execute(otherwise) if otherwise is not None else 0
            case Loop() | For():
                return await self._loop(node)
            case Simple():
                return await self._simple(node)

    async def _loop(self, node: Loop | For) -> int:
        code = 0
        values = iter([text for word in node.words for text in self._expand(word)] if isinstance(node, For) else [])
        while await self._goes_on(node, values):
            try:
                code = await self._execute(node.body)
            except Leave as leave:
                if not leave.goes_on:
                    break
        return code

    async def _goes_on(self, node: Loop | For, values: Iterator[str]) -> bool:
        if isinstance(node, Loop):
            return (await self._execute(node.condition) == 0) is node.wanted
        for value in values:  # the next one
            self.variables[node.name] = value
            return True
        return False

    async def _in_background(self, command: Node) -> int:
        try:
            return await self._execute(command)
        except Exit as ended:
            return ended.code

    async def _simple(self, node: Simple) -> int:
        values = {name: "".join(self._expand(word)) for name, word in node.assignments}
        words = [text for word in node.words for text in self._expand(word)]
        if not words:
            self.variables |= values
            if not node.redirects:
                return 0
            words = [":"]
        before, self.variables = self.variables, self.variables | values
        restored, complain = self.write, self.complain
        try:
            return await self._redirected(node, words)
        except OSError as error:
            complain(f"{words[0]}: {error.filename or ''}: {error.strerror or error}\n".encode())
            return 1
        finally:
            self.write, self.complain = restored, complain
            if values:
                self.variables = before
            await self._take_signals()

    async def _redirected(self, node: Simple, words: list[str]) -> int:
        output = bytearray()
        target, append = "", False
        for operator, word in node.redirects:
            name = "".join(self._expand(word))
            if operator in (">", ">>"):
                target, append = name, operator == ">>"
                if name not in ("/dev/stdout", "/dev/stderr"):
                    self.around.files.write(name, b"", append=append)
                    self.write = output.extend
            elif operator in ("2>", "2>>"):
                self.around.files.write(name, b"", append=operator == "2>>")
                self.complain = partial(self.around.files.write, name, append=True)
            elif operator == "2>&1":
                self.complain = self.write
            elif operator == "<":
                self.stdin = self.around.files.read(name)
        code = await self.call(words)
        if target and output:
            self.around.files.write(target, bytes(output), append=True)
        return code

    def _expand(self, word: Word) -> list[str]:
        text, kept = "", False
        for part in word:
            kept = kept or part.quoted
            text += NAME.sub(lambda found: self._value(found.group(1) or found.group(2)), part.text) \
                if part.expands else part.text
        if any(part.expands and not part.quoted and "$" in part.text for part in word) and not kept:
            return text.split()
        return [text] if text or kept else []

    def _value(self, name: str) -> str:
        special = {"?": str(self.status), "$": "1", "!": str(len(self._jobs))}
        return special[name] if name in special else self.variables.get(name, "")

    # --- programs

    async def call(self, words: list[str]) -> int:
        await self.pause(_STEP_S)
        name, arguments = words[0].rsplit("/", 1)[-1], words[1:]
        if name == "busybox" and arguments:
            name, arguments = arguments[0], arguments[1:]
        program = PROGRAMS.get(name)
        if program is None:
            self.complain(f"sh: {words[0]}: not found\n".encode())
            return 127
        try:
            return await program(self, arguments)
        finally:
            if owed_s := self.around.files.take_owed_s():
                await self.pause(owed_s)

    async def wait_for_jobs(self, number: int = 0) -> int:
        """``wait``: until all jobs (``number``: that of ``$!``) have ended, or a signal comes that there is a trap for.
        The code of the one that was named."""
        named = self._jobs[number - 1] if 0 < number <= len(self._jobs) else None
        if number and named is None:
            return 127
        jobs = {job for job in ([named] if named is not None else self._jobs) if not job.done()}
        while jobs and not self._pending:
            woken = asyncio.get_running_loop().create_task(self._signal.wait())
            done, _ = await asyncio.wait({*jobs, woken}, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            jobs -= done
            await self.pause(0)
        if self._pending:
            return 128 + _SIGNALS[self._pending[0]]
        return named.result() if named is not None else 0
