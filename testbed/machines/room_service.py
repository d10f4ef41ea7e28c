"""The machine room's control socket: which request asks what of it, and how long it is served."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from functools import partial
from typing import Any

from testbed.api.instance import SLICE
from testbed.errors import NotFound
from testbed.machines.room import Room
from testbed.machines.wire import serve as serve_socket

Json = dict[str, Any]


async def handle(room: Room, method: str, path: str, body: Json) -> Json:
    """Answers one request (see ``protocol``). Raises: TestbedError."""
    match (method, path.strip("/").split("/")):
        case ("GET", ["status"]):
            return asdict(await room.status())
        case ("POST", ["nodes"]):
            return {"name": await room.add_node(
                str(body.get("name") or ""), cpu=str(body.get("cpu") or ""), memory=str(body.get("memory") or ""),
                kind=str(body.get("kind") or SLICE),
            )}
        case ("DELETE", ["nodes", name]):
            await room.remove_node(name)
        case ("PUT", ["nodes", name, "power"]):
            await room.set_power(name, on=bool(body["on"]))
        case ("PUT", ["nodes", name, "cable"]):
            deadline = body.get("deadline_s")
            await room.set_cable(
                name, cut=bool(body["cut"]), deadline_s=None if deadline is None else float(deadline),
                direction=str(body.get("direction") or "both"), delay_s=float(body.get("delay_s") or 0),
                key=str(body.get("key") or ""),
            )
        case ("GET", ["nodes", name, "engine"]):
            return asdict(await room.engine_state(name))
        case ("PUT", ["nodes", name, "engine"]) if body["act"]:
            await room.hold_engine(name, str(body["key"]), act=str(body["act"]),
                                   deadline_s=float(body["deadline_s"]))
        case ("PUT", ["nodes", name, "engine"]):
            await room.free_engine(name, str(body["key"]))
        case ("PUT", ["processes", name, "down"]) if body["down"]:
            await room.hold_down(name, str(body["key"]), deadline_s=float(body["deadline_s"]))
        case ("PUT", ["processes", name, "down"]):
            await room.let_up(name, str(body["key"]))
        case ("POST", ["stop"]):
            await room.stop()
        case _:
            raise NotFound(f"the machine room has no {method} {path}")
    return {}


async def serve(room: Room, *, owner: tuple[int, int] | None = None) -> None:
    """Runs the room until SIGTERM or until the cluster was taken down."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, room.finished.set)
    server = await serve_socket(room.instance.room_socket, partial(handle, room))
    if owner:
        room.follow_owner(*owner)
    await room.start()
    await room.finished.wait()
    server.close()
    await asyncio.sleep(0.05)  # the answer to a stop is still on its way
    await room.close()
