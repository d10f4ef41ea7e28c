"""Stands between clients and a port, and does to their HTTP exchanges what an HTTPChaos rule says.

New connections to the port, from outside to the pod and from the pod to anybody, come to a proxy (steering.py,
http_proxy.py). Connections from before are reset once, so that who keeps them makes new ones. Killed, it takes no
connection any more, and what is new goes straight to the server.
"""

import asyncio
import json
import socket
import subprocess
import time
from functools import partial

import http_rule
import steering
from http_proxy import Proxy

MAX_SHOWN = 1 << 16
KEPT_WITHIN_S = 1.0


def hold(plan, ready, over):
    asyncio.run(_hold(plan, ready, over))


def clear(plan):
    steering.end(plan["id"])


async def _hold(plan, ready, over):
    port, loop = plan["port"], asyncio.get_running_loop()
    steering.end(plan["id"])
    level, queue, listener, kept = _begun(plan["id"], port)

    def take():
        for identity, _, mark, _ in queue.received() if queue else ():
            queue.take(identity, mark)

    proxy = Proxy(http_rule.compiled(plan["rule"]), partial(_dial, level, kept))
    if queue:
        loop.add_reader(queue.socket, take)
    left = _reset_standing(port)
    serving = asyncio.create_task(proxy.serve(listener))
    telling = await asyncio.start_unix_server(lambda _, writer: _tell(proxy, writer), path=_address(plan["id"]))
    seen = "in its client's name" if kept else "in the pod's own name"
    still = f"; {left} connections from before could not be reset" if left else ""
    alone = "" if queue else "; there are no netfilter queues: killed, it leaves the port refused until it is cleared"
    ready(f"connections to port {port} are taken by a proxy {seen}, level {level.number}{still}{alone}")
    try:
        await over.ended()
    finally:
        telling.close()
        await _end(plan["id"], proxy, take)
        serving.cancel()
        if queue:
            queue.close()


def _begun(name, port):
    """Level, queue, listener, and whether clients' names are kept: by the best means that this kernel has.

    Raises: OSError.
    """
    rules = [*steering.tcp_in(port), *steering.tcp_out(port)]
    for queued in (True, False):
        for more in (steering.client_kept(port), ()):
            try:
                return *steering.begin(name, [*rules, *more], queued=queued), bool(more)
            except OSError as error:
                steering.end(name)
                problem = error
    raise problem


async def _end(name, proxy, take):
    """No connection is taken any more; what the proxy still does needs the way back that is in the rules."""
    steering.end(name, keep=("mangle",))
    take()
    await proxy.end()
    steering.end(name)


async def _dial(level, kept, sock):
    """A connection to where a client's was made to, in its name if that can be."""
    where, client = steering.meant_for(sock), sock.getpeername()[0]
    if kept and not steering.is_own(client):
        try:
            async with asyncio.timeout(KEPT_WITHIN_S):
                return await _connected(steering.marked(level.passed, client), where)
        except ConnectionRefusedError:
            raise
        except (OSError, TimeoutError):
            pass  # the way back is not what it should be: better the wrong name than no answer
    return await _connected(steering.marked(level.passed), where)


async def _connected(made, where):
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _reset_standing(port):
    """Ends the connections that a port has, of either side; how many the kernel would not end."""
    which = ["state", "established", "(", "sport", "=", f":{port}", "or", "dport", "=", f":{port}", ")"]
    subprocess.run(["ss", "-K", "-Htn", *which], capture_output=True, timeout=10, check=False)
    left = subprocess.run(["ss", "-Htn", "state", "established", "sport", "=", f":{port}"],
                          capture_output=True, timeout=10, check=False)
    return len(left.stdout.splitlines())


def _address(name):
    return f"\0testbed-requests-{name}"


async def _tell(proxy, writer):
    writer.write(json.dumps({"connections": proxy.connections, "requests": proxy.requests,
                             "applied": proxy.applied}).encode())
    writer.close()


def ask(question):
    """Sends one request to ``address`` twice, past all faults and to injection ``id`` alone, as a process of the pod
    would, and tells both answers and what the injection has counted meanwhile.

    The question: ``{"id", "address", "port", "method", "path", "headers": {}, "within_s"}``; the answer:
    ``{"direct": A, "met": A, "connections", "requests", "applied", "rules": of iptables that are there}`` with A
    ``{"how": "answered", "closed", "silent" or "refused", "ms", "code", "headers": [[name, value]], "body"}`` (the last
    three when answered).
    """
    rules, mark = steering.standing(question["id"])
    direct = _exchange(question, steering.PASSED_ALL)
    before = _counts(question["id"])
    met = _exchange(question, mark)
    after = _counts(question["id"])
    return {"direct": direct, "met": met, "rules": rules, **{name: after[name] - before[name] for name in before}}


def _counts(name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(5.0)
        asker.connect(_address(name))
        return json.loads(b"".join(iter(lambda: asker.recv(4096), b"")))


def _exchange(question, mark):
    headers = {"host": f"{question['address']}:{question['port']}", "user-agent": "testbed-look", "accept": "*/*",
               "connection": "close", **{name.lower(): value for name, value in question["headers"].items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    text = f"{question['method']} {question['path']} HTTP/1.1\r\n{head}\r\n"
    began = time.monotonic()
    until, received, how = began + question["within_s"], b"", "closed"
    try:
        with steering.marked(mark) as asker:
            asker.settimeout(question["within_s"])
            asker.connect((question["address"], question["port"]))
            asker.sendall(text.encode("latin-1", "replace"))
            while len(received) < MAX_SHOWN:
                asker.settimeout(max(0.001, until - time.monotonic()))
                data = asker.recv(MAX_SHOWN)
                if not data:
                    break
                received += data
    except ConnectionRefusedError:
        how = "refused"
    except TimeoutError:
        how = "silent"
    except OSError:
        how = "closed"
    answer = {"how": how, "ms": (time.monotonic() - began) * 1000}
    return {**answer, **_read(received)} if received.startswith(b"HTTP/") else answer


def _read(received):
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    return {"how": "answered", "code": int(words[1]) if len(words) > 1 and words[1].isdigit() else 0,
            "headers": [[part.strip() for part in line.partition(":")[::2]] for line in lines],
            "body": body.decode("latin-1")}
