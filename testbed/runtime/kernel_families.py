"""Which parts of this machine's kernel answer by a name of their own (generic netlink): the way to ask for a part that
neither a file nor a module's name gives away. Needs no privilege and changes nothing.

Source: kernel include/uapi/linux/genetlink.h, netlink(7).
"""

from __future__ import annotations

import socket
import struct

_NETLINK_GENERIC, _CONTROLLER, _GET_FAMILY, _FAMILY_NAME = 16, 0x10, 3, 2
_REQUEST, _ERROR = 1, 2
_ANSWER_S = 1.0


def has_family(name: str) -> bool:
    """Whether the kernel has it; False also where it cannot be asked."""
    text = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(text), _FAMILY_NAME) + text + b"\0" * (-len(text) % 4)
    body = struct.pack("=BBH", _GET_FAMILY, 1, 0) + attribute
    message = struct.pack("=IHHII", 16 + len(body), _CONTROLLER, _REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as line:
            line.settimeout(_ANSWER_S)
            line.send(message)
            kind: int = struct.unpack_from("=IHHII", line.recv(65536))[1]
    except (OSError, struct.error):
        return False
    return kind != _ERROR
