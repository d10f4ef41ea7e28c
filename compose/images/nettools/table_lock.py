"""One at a time in this network namespace reads the packet filters' tables and changes them: who finds one empty
deletes it. The lock is a name that only one socket can have, freed by its owner's death. Standard library only."""

import contextlib
import socket
import time

NAME = "\0testbed-packets"  # an abstract address belongs to the network namespace
WITHIN_S = 5.0


@contextlib.contextmanager
def alone():
    """Raises: OSError when others have it for too long."""
    until = time.monotonic() + WITHIN_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while True:
            try:
                lock.bind(NAME)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
        yield
