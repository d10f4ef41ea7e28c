"""Asks the machine room over its control socket: ``RoomClient`` from asyncio, ``room_call`` from plain code."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from testbed.api.instance_files import load_instance
from testbed.errors import EnvironmentProblem
from testbed.machines.protocol import CableHold, EngineState, NodeState, ProcessState, RoomStatus
from testbed.machines.wire import decode_response, encode_request

Json = dict[str, Any]
_QUICK_S, _SLOW_S = 5.0, 180.0  # looking; acts that remove containers


def _no_room(path: Path, error: BaseException) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the machine room of cluster {path.parent.name!r} does not answer ({error or 'timeout'})",
        hint=f"testbed up --name {path.parent.name} starts it again",
    )


def room_call(path: Path, method: str, url: str, body: Json | None = None, *, timeout_s: float = _SLOW_S) -> Json:
    """One request, blocking. ``path``: the control socket. Raises: the room's error; EnvironmentProblem."""
    chunks = []
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(encode_request(method, url, body))
            while chunk := connection.recv(65536):
                chunks.append(chunk)
    except OSError as error:
        raise _no_room(path, error) from error
    return decode_response(b"".join(chunks))


def read_status(value: Json) -> RoomStatus:
    processes = tuple(
        ProcessState(**{**item, "held_down": tuple(item["held_down"])}) for item in value.pop("processes"))
    nodes = tuple(
        NodeState(**{**item, "cable": tuple(CableHold(**hold) for hold in item["cable"])})
        for item in value.pop("nodes"))
    return RoomStatus(processes=processes, nodes=nodes, **value)


def room_status(path: Path) -> RoomStatus:
    """What the room at the control socket ``path`` says, blocking. Raises: EnvironmentProblem."""
    return read_status(room_call(path, "GET", "/status", timeout_s=_QUICK_S))


async def _readyz(port: int, ca_file: Path) -> None:
    """One request to an API, which needs no token for it. Raises: OSError."""
    import ssl

    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=ssl.create_default_context(cafile=str(ca_file)))
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        if not await reader.read(1):
            raise ConnectionResetError("it was closed without an answer")
    finally:
        writer.transport.abort()


class RoomClient:
    """``MachineRoom`` at the other end of the unix socket ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def _call(self, method: str, url: str, body: Json | None = None, *, timeout_s: float = _SLOW_S) -> Json:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(encode_request(method, url, body))
                    raw = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise _no_room(self._path, error) from error
        return decode_response(raw)

    async def status(self) -> RoomStatus:
        return read_status(await self._call("GET", "/status", timeout_s=_QUICK_S))

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "", kind: str = "slice") -> str:
        answer = await self._call("POST", "/nodes", {"name": name, "cpu": cpu, "memory": memory, "kind": kind})
        return str(answer["name"])

    async def remove_node(self, name: str) -> None:
        await self._call("DELETE", f"/nodes/{name}")

    async def set_power(self, name: str, *, on: bool) -> None:
        await self._call("PUT", f"/nodes/{name}/power", {"on": on})

    async def set_cable(
        self, name: str, *, cut: bool, deadline_s: float | None = None, direction: str = "both", delay_s: float = 0.0,
        key: str = "",
    ) -> None:
        body = {"cut": cut, "deadline_s": deadline_s, "direction": direction, "delay_s": delay_s, "key": key}
        await self._call("PUT", f"/nodes/{name}/cable", body, timeout_s=_QUICK_S)

    async def round_trip_s(self, name: str, *, within_s: float) -> float:
        """The room has no part in it: it is asked as the agent asks."""
        instance = load_instance(self._path.parent)
        loop, port = asyncio.get_running_loop(), instance.node(name).to_api_port
        began = loop.time()
        try:
            async with asyncio.timeout(within_s):
                await _readyz(port, instance.ca_certificate)
        except (OSError, TimeoutError) as error:
            raise EnvironmentProblem(f"no answer through the cable of node {name} within {within_s:g} s") from error
        return loop.time() - began

    async def hold_down(self, process: str, key: str, *, deadline_s: float) -> None:
        body = {"key": key, "down": True, "deadline_s": deadline_s}
        await self._call("PUT", f"/processes/{process}/down", body, timeout_s=_QUICK_S)

    async def let_up(self, process: str, key: str) -> None:
        await self._call("PUT", f"/processes/{process}/down", {"key": key, "down": False}, timeout_s=_QUICK_S)

    async def hold_engine(self, name: str, key: str, *, act: str, deadline_s: float) -> None:
        body = {"key": key, "act": act, "deadline_s": deadline_s}
        await self._call("PUT", f"/nodes/{name}/engine", body, timeout_s=_QUICK_S)

    async def free_engine(self, name: str, key: str) -> None:
        await self._call("PUT", f"/nodes/{name}/engine", {"key": key, "act": ""}, timeout_s=_QUICK_S)

    async def engine_state(self, name: str) -> EngineState:
        answer = await self._call("GET", f"/nodes/{name}/engine", timeout_s=_QUICK_S)
        return EngineState(str(answer["process"]), tuple(answer["held_by"]))

    async def engine_answers(self, name: str, *, within_s: float) -> bool:
        socket = load_instance(self._path.parent).node_socket(name, "engine")
        try:
            async with asyncio.timeout(within_s):
                reader, writer = await asyncio.open_unix_connection(socket)
                try:
                    writer.write(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                    return (await reader.readline()).startswith(b"HTTP/1.1 200")
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError):
            return False

    async def stop(self) -> None:
        await self._call("POST", "/stop")
