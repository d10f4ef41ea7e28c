"""A holder: one small process that ends one injection at its deadline, even when everything else of ours is dead.

Started detached as ``python -I -m faults.holder FILE``; standard library only. FILE (0600) says when
(CLOCK_MONOTONIC) and what to do. The chaos daemon undoes at the deadline itself and then ends its holder; the
holder waits half a second longer. It also undoes at once when its file disappears: then the whole cluster was taken
down. What it cannot do itself (act ``undo``) or may not (a user who is not root) it hands to ``python -m faults
--undo``, which asks the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

_SPARE_S = 0.5
_LOOK_S = 0.25  # how often it looks whether its file is still there
_TRY_AGAIN_S = 1.0
_GIVE_UP_S = 3600.0
_FREEZERS = ("/sys/fs/cgroup/freezer{0}/freezer.state", "/sys/fs/cgroup{0}/cgroup.freeze",
             "/sys/fs/cgroup/unified{0}/cgroup.freeze")


def say(message: str) -> None:
    """A line of the log in the form of ``testbed.api.log_lines``, which must not be needed here."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 1000:06d}Z"
    sys.stderr.write(json.dumps({"at": at, "ns": time.monotonic_ns(), "level": "WARNING", "process": "holder",
                                 "logger": "holder", "message": message}) + "\n")


def thaw(act: dict[str, Any]) -> None:
    """A cgroup that is gone needs no thaw. Raises: OSError when it may not."""
    for pattern in _FREEZERS:
        path = pattern.format(act["cgroup"])
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.write(descriptor, b"THAWED" if path.endswith("freezer.state") else b"0")
            finally:
                os.close(descriptor)


def ask_room(act: dict[str, Any]) -> None:
    """Raises: OSError when the room cannot be asked or does not do it. A node that it does not know needs nothing."""
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(30)
    connection.sock.connect(act["socket"])
    answer = _ask(connection, act["method"], act["path"], act["body"], {"Content-Type": "application/json"})
    if answer is None:
        say(f"{act['path']}: not known")


def _ask(connection: Any, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
    """One exchange: the JSON of the answer, None of 404. Raises: OSError."""
    import http.client

    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status == 404:
        return None
    if answer.status >= 400:
        raise OSError(f"{method} {path}: {answer.status} {text[:300]!r}")
    return json.loads(text or b"{}")


def restore_images(act: dict[str, Any], directory: Path) -> None:
    """Gives a pod its images back, unless it is gone. Raises: OSError."""
    import http.client
    import ssl

    host, _, port = act["api"].removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    headers = {"Authorization": "Bearer " + (directory / "token").read_text().strip(),
               "Content-Type": "application/json-patch+json"}
    path = f"/api/v1/namespaces/{act['namespace']}/pods/{act['name']}"

    def connection() -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(host, int(port), timeout=10, context=context)

    pod = _ask(connection(), "GET", path, None, headers)
    if pod is None or pod["metadata"]["uid"] != act["uid"]:
        return
    patch = [{"op": "test", "path": "/metadata/uid", "value": act["uid"]}]
    patch += [{"op": "replace", "path": f"/spec/containers/{index}/image", "value": act["images"][item["name"]]}
              for index, item in enumerate(pod["spec"]["containers"]) if item["name"] in act["images"]]
    _ask(connection(), "PATCH", path, patch, headers)


def do(act: dict[str, Any], directory: Path) -> None:
    """Raises: OSError, ValueError when it could not be done (yet)."""
    if act["do"] == "thaw":
        thaw(act)
    elif act["do"] == "ask-room":
        ask_room(act)
    elif act["do"] == "restore-images":
        restore_images(act, directory)
    elif act["do"] == "undo":
        hand_over(act["id"], directory)
    else:
        raise ValueError(f"unknown act {act['do']!r}")


def undo_all(spec: dict[str, Any], directory: Path) -> bool:
    """Tries everything; whether all of it was done."""
    done = True
    for act in spec["acts"]:
        try:
            try:
                do({"id": spec["id"], **act}, directory)
            except PermissionError:
                hand_over(spec["id"], directory)
        except (OSError, ValueError, KeyError) as error:
            say(f"{act['do']} of {spec['id']}: {error}")
            done = False
    return done


def hand_over(entry_id: str, directory: Path) -> None:
    """Has it done by a process that may do more, and asks again later when that could not: the engine may be silent.
    That process ends this one when it has succeeded. Raises: OSError."""
    import subprocess

    argv = [sys.executable, "-m", "faults", "--instance", str(directory), "--undo", entry_id]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise OSError(f"--undo ended with {done.returncode}")


def main() -> int:
    file = Path(sys.argv[1])
    try:
        spec = json.loads(file.read_text())
    except FileNotFoundError:  # the injection was undone before this process was up
        return 0
    directory = file.parent.parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # SIGTERM ends it: someone else has undone the injection
    deadline = spec["deadline_ns"] / 1e9 + _SPARE_S
    while file.exists() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_S))
    give_up = time.monotonic() + _GIVE_UP_S
    while not undo_all(spec, directory) and file.exists() and time.monotonic() < give_up:
        time.sleep(_TRY_AGAIN_S)
    file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
