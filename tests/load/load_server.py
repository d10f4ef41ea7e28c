"""What the load tests share: a small server as a program of its own, and a locustfile."""

SERVER = """
import asyncio, sys
async def serve(reader, writer):
    keep = True
    while keep:
        try:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        keep = b"Connection: close" not in head
        path = head.split()[1]
        if path == b"/cut":
            break
        status = b"503 Sick" if path == b"/sick" else b"200 OK"
        body = b'{"pod": "web-1"}'
        writer.write(b"HTTP/1.1 %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (status, len(body)) + body)
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

GOOD = """
from locust import HttpUser, constant, task
class Visitor(HttpUser):
    wait_time = constant(0.02)
    @task
    def front(self):
        self.client.get("/")
    @task
    def missing(self):
        self.client.get("/missing")
"""
