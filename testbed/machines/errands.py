"""Work with the engine that the machine room has done for it: each act by a process of its own (``errand``).

So the room stays small and never hangs on an engine. What an act does is left to ``errand``, when it is needed to the
room and its ``node_keeper``.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem

Json = dict[str, Any]
_ERRAND_S = 170.0


class Errands:
    """``command``: runs a module of ours. ``directory``: of the instance. ``log``: where people find what went
    wrong."""

    def __init__(self, command: tuple[str, ...], directory: Path, environment: dict[str, str], log: Path) -> None:
        self._command, self._directory, self._environment, self._log = command, directory, environment, log

    async def run(self, act: str, node: str = "") -> Json:
        """Raises: the errand's error, EnvironmentProblem when it gave no answer."""
        argv = [*self._command, "testbed.machines.errand", "--instance", str(self._directory)]
        if act == "down":
            argv += ["--spare", str(os.getpid())]
        process = await asyncio.create_subprocess_exec(
            *argv, "--node", node, act, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            env=self._environment, cwd=self._directory, start_new_session=True,
        )
        try:
            async with asyncio.timeout(_ERRAND_S):
                output, _ = await process.communicate()
            answer: Json = json.loads(output)
        except (TimeoutError, ValueError) as error:
            raise EnvironmentProblem(f"errand {act} {node} gave no answer", hint=f"see {self._log}") from error
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise EnvironmentProblem(str(answer["message"]), hint=str(answer["hint"]))
        return answer
