"""A sample with state, one program in three roles (ROLE): web -> api -> queue -> worker -> store.

    web     POST /orders/ID   asks the api                     GET /orders/ID   asks the api
            GET /             says who it is
    api     POST /orders/ID   puts ID into the queue; 202 is the acknowledgement that it will not be lost
            GET /orders/ID    200 when it is in the store (READ_REPLICA=1: in the replica), else 404
            GET /orders       all ids in the store (from the primary), as JSON
            GET /backlog      {"length": orders that were acknowledged and are not in the store yet}
    worker  takes an ID from the queue, works for WORK_MS, and puts it into the store
    all     GET /healthz      200 while it lives
            GET /readyz       200; with DEEP_READINESS=1 only while what it depends on answers

A worker keeps what it works on in a list of its own in the queue; what a dead one had in its hands the others put back.
With RELIABLE=0 it simply takes it, and what is in its hands when it dies is lost. With SYNC_REPLICAS=1 an order counts
as stored only when a replica has it too.

Environment: ROLE, POD_NAME, API_HOST api, QUEUE_HOST queue, STORE_HOST store, REPLICA_HOST store-replica, PORT 8080,
WORK_MS 20, TIMEOUT_MS 1000, RELIABLE 1, SYNC_REPLICAS 0, READ_REPLICA 0, DEEP_READINESS 0.
"""

import asyncio
import os
import signal
import socket
import sys

from http_server import ask, serve
from redis_client import Redis, StoreError

ROLE = os.environ.get("ROLE", "web")
POD_NAME = os.environ.get("POD_NAME") or socket.gethostname()
VERSION = os.environ.get("VERSION", "v1")
PORT = int(os.environ.get("PORT", "8080"))
TIMEOUT_S = float(os.environ.get("TIMEOUT_MS", "1000")) / 1000
WORK_S = float(os.environ.get("WORK_MS", "20")) / 1000
RELIABLE = os.environ.get("RELIABLE", "1") == "1"
SYNC_REPLICAS = int(os.environ.get("SYNC_REPLICAS", "0"))
READ_REPLICA = os.environ.get("READ_REPLICA", "0") == "1"
DEEP_READINESS = os.environ.get("DEEP_READINESS", "0") == "1"
QUEUE, STORED = "orders", "stored"
IN_HAND = f"in-hand:{POD_NAME}"
CONNECTIONS = 8
ALIVE_S = 3  # a worker that has not been heard of for so long is dead
RECLAIM_S = 1


def tell(error):
    """Into the log of its container."""
    sys.stdout.write(f"{error}\n")
    sys.stdout.flush()


def host(name, default):
    return os.environ.get(name, default)


class Pool:
    """Several connections to one server: one that waits must not hold up all."""

    def __init__(self, name):
        self._idle = [Redis(name, timeout_s=TIMEOUT_S) for _ in range(CONNECTIONS)]
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def call(self, *parts):
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._free.acquire()
        except TimeoutError:
            raise StoreError("all connections wait for an answer") from None
        connection = self._idle.pop()
        try:
            return await connection.call(*parts)
        finally:
            self._idle.append(connection)
            self._free.release()


class Web:
    """Forwards; knows nothing of queue and store."""

    async def answer(self, method, path):
        if path == "/":
            return 200, {"pod": POD_NAME, "role": ROLE, "version": VERSION}
        if not path.startswith("/orders"):
            return 404, {"error": "no such path"}
        try:
            status, value = await ask(host("API_HOST", "api"), PORT, method, path, TIMEOUT_S)
        except TimeoutError:
            return 504, {"error": "the api does not answer", "pod": POD_NAME}
        except OSError as error:
            return 502, {"error": f"the api: {error}", "pod": POD_NAME}
        return status, {**value, "pod": POD_NAME} if isinstance(value, dict) else value

    async def ready(self):
        status, _ = await ask(host("API_HOST", "api"), PORT, "GET", "/readyz", TIMEOUT_S)
        return status == 200


class Api:
    """Acknowledges an order once the queue has it."""

    def __init__(self):
        self.queue = Pool(host("QUEUE_HOST", "queue"))
        self.store = Pool(host("STORE_HOST", "store"))
        self.reads = Pool(host("REPLICA_HOST", "store-replica")) if READ_REPLICA else self.store

    async def answer(self, method, path):
        _, _, order = path.strip("/").partition("/")
        try:
            if path == "/":
                return 200, {"pod": POD_NAME, "role": ROLE, "version": VERSION}
            if path == "/backlog":
                return 200, {"length": await self._backlog()}
            if path == "/orders":
                return 200, sorted(await self.store.call("SMEMBERS", STORED))
            if path.startswith("/orders/") and method == "POST":
                await self.queue.call("LPUSH", QUEUE, order)
                return 202, {"order": order, "pod": POD_NAME}
            if path.startswith("/orders/"):
                found = await self.reads.call("SISMEMBER", STORED, order)
                return (200, {"order": order}) if found else (404, {"error": "not stored (yet)"})
        except StoreError as error:
            return 503, {"error": str(error), "pod": POD_NAME}
        return 404, {"error": "no such path"}

    async def _backlog(self):
        waiting = await self.queue.call("LLEN", QUEUE)
        for hands in await self.queue.call("KEYS", "in-hand:*"):
            waiting += await self.queue.call("LLEN", hands)
        return waiting

    async def ready(self):
        return await self.queue.call("PING") == "PONG"


class Worker:
    """One order at a time, from the queue into the store."""

    def __init__(self):
        self._queue = Redis(host("QUEUE_HOST", "queue"), timeout_s=TIMEOUT_S)
        self._watch = Redis(host("QUEUE_HOST", "queue"), timeout_s=TIMEOUT_S)
        self._store = Redis(host("STORE_HOST", "store"), timeout_s=TIMEOUT_S)

    async def answer(self, method, path):
        return 200, {"pod": POD_NAME, "role": ROLE, "version": VERSION}

    async def ready(self):
        return await self._store.call("PING") == "PONG"

    async def run(self):
        await asyncio.gather(self._work(), self._reclaim())

    async def _work(self):
        while True:
            try:
                while await self._queue.call("RPOPLPUSH", IN_HAND, QUEUE):  # of an earlier life of this pod
                    pass
                while True:
                    await self._one()
            except StoreError as error:
                tell(error)
                await asyncio.sleep(0.2)

    async def _reclaim(self):
        """Says that it lives, and puts back what dead workers had in their hands."""
        while RELIABLE:
            try:
                await self._watch.call("SET", f"alive:{POD_NAME}", 1, "EX", ALIVE_S)
                for hands in await self._watch.call("KEYS", "in-hand:*"):
                    if not await self._watch.call("EXISTS", hands.replace("in-hand:", "alive:", 1)):
                        await self._watch.call("RPOPLPUSH", hands, QUEUE)
            except StoreError as error:
                tell(error)
            await asyncio.sleep(RECLAIM_S)

    async def _one(self):
        if RELIABLE:
            order = await self._queue.call("BRPOPLPUSH", QUEUE, IN_HAND, 1, timeout_s=TIMEOUT_S + 1)
        else:
            found = await self._queue.call("BRPOP", QUEUE, 1, timeout_s=TIMEOUT_S + 1)
            order = found[1] if found else None
        if order is None:
            return
        await asyncio.sleep(WORK_S)
        while True:
            if await self._put(order):
                break
            await asyncio.sleep(0.2)
        if RELIABLE:
            await self._queue.call("LREM", IN_HAND, 1, order)

    async def _put(self, order):
        """Whether the store, and as many replicas as are wanted, has it."""
        try:
            await self._store.call("SADD", STORED, order)
            return not SYNC_REPLICAS or await self._store.call("WAIT", SYNC_REPLICAS, 500) >= SYNC_REPLICAS
        except StoreError as error:
            tell(error)
            return False


async def main():
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    part = {"web": Web, "api": Api, "worker": Worker}[ROLE]()

    async def answer(method, path):
        if path == "/healthz":
            return 200, {"pod": POD_NAME}
        if path == "/readyz":
            try:
                fine = not stopping.is_set() and (not DEEP_READINESS or await part.ready())
            except (StoreError, OSError, TimeoutError):
                fine = False
            return (200 if fine else 503), {"pod": POD_NAME}
        return await part.answer(method, path)

    server = await serve(answer, PORT)
    working = asyncio.create_task(part.run()) if ROLE == "worker" else None
    await stopping.wait()
    await asyncio.sleep(float(os.environ.get("DRAIN_S", "1")))
    if working is not None:
        working.cancel()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
