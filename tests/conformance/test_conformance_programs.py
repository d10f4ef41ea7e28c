"""Shell scripts end alike on both engines: the simulated shell is held to the real one by output and exit code."""

from __future__ import annotations

import pytest
from engine_rig import Rig

from testbed.errors import InvalidInput
from testbed.runtime.simulated_shell import parse

#: Script, what it writes to its output, how it ends.
SCRIPTS: dict[str, tuple[str, str, int]] = {
    "list": ("echo a; echo b", "a\nb\n", 0),
    "and": ("true && echo yes", "yes\n", 0),
    "and not": ("false && echo yes", "", 1),
    "or": ("false || echo other", "other\n", 0),
    "not": ("! false", "", 0),
    "last code": ("false; echo $?", "1\n", 0),
    "exit": ("echo a; exit 3; echo b", "a\n", 3),
    "if": ("if true; then echo yes; else echo no; fi", "yes\n", 0),
    "else": ("if false; then echo yes; else echo no; fi", "no\n", 0),
    "elif": ("if false; then echo a; elif true; then echo b; fi", "b\n", 0),
    "for": ("for n in 1 2 3; do echo $n; done", "1\n2\n3\n", 0),
    "break": ("for n in 1 2 3; do if [ $n = 2 ]; then break; fi; echo $n; done", "1\n", 0),
    "continue": ("for n in 1 2 3; do if [ $n = 2 ]; then continue; fi; echo $n; done", "1\n3\n", 0),
    "while": ("touch /tmp/f; while test -f /tmp/f; do echo once; rm /tmp/f; done", "once\n", 0),
    "until": ("until test -f /tmp/f; do touch /tmp/f; echo once; done", "once\n", 0),
    "variable": ("word=x; echo $word ${word}y '$word' \"$word z\"", "x xy $word x z\n", 0),
    "write": ("echo a > /tmp/f; echo b >> /tmp/f; cat /tmp/f", "a\nb\n", 0),
    "overwrite": ("echo a > /tmp/f; echo b > /tmp/f; cat /tmp/f", "b\n", 0),
    "read": ("echo a > /tmp/f; cat < /tmp/f", "a\n", 0),
    "into nothing": ("echo a > /dev/null; echo b", "b\n", 0),
    "no such directory": ("echo a > /nowhere/f || echo refused", "refused\n", 0),
    "wait": ("sleep 0.1 & wait; echo done", "done\n", 0),
    "wait for one": ("false & wait $!; echo $?", "1\n", 0),
    "exit trap": ("trap 'echo bye' EXIT; echo hello", "hello\nbye\n", 0),
    "exit trap keeps the code": ("trap 'echo bye' EXIT; exit 4", "bye\n", 4),
    "no such program": ("nosuchprogram 2> /dev/null; echo $?", "127\n", 0),
    "compare": ("[ 2 -gt 1 ] && [ a != b ] && echo both", "both\n", 0),
    "directory": ("mkdir -p /tmp/d/e; test -d /tmp/d/e && ls /tmp/d", "e\n", 0),
    "no newline": ("echo -n a; printf '%s\\n' b", "ab\n", 0),
    "shell in a shell": ("sh -c 'exit 5'; echo $?", "5\n", 0),
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_ends_alike_on_both_engines(rig: Rig, name: str) -> None:
    script, output, code = SCRIPTS[name]
    container = await rig.engine.create(rig.spec("sh", "-c", script))
    await rig.engine.start(container)
    state = await rig.ended(container)
    written = b"".join([line async for line in rig.engine.logs(container)]).decode()
    if name == "no such directory":  # each says what is wrong in its own words, in a stream of its own
        written = "".join(line for line in written.splitlines(keepends=True) if "/nowhere/f" not in line)
    assert (written, state.exit_code) == (output, code)


async def test_a_trap_runs_when_a_container_is_asked_to_end(rig: Rig) -> None:
    script = "trap 'echo term; exit 3' TERM; echo ready; while true; do sleep 0.05; done"
    container = await rig.started("sh", "-c", script)

    async for line in rig.engine.logs(container.id, follow=True):
        assert line == b"ready\n"
        break
    await rig.engine.signal(container.id, "SIGTERM")
    assert (await rig.ended(container.id)).exit_code == 3
    assert b"".join([line async for line in rig.engine.logs(container.id)]) == b"ready\nterm\n"


@pytest.mark.parametrize("script", [
    "echo a | cat", "echo $(hostname)", "echo `hostname`", "echo 'open", "if true; then echo a", "(echo a)",
    "for n in 1 2; echo $n", "echo a >",
])
def test_what_the_simulated_shell_does_not_know_is_refused(script: str) -> None:
    with pytest.raises(InvalidInput):
        parse(script)
