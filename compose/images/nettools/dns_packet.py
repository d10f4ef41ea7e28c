"""DNS questions that a fault answers itself: which it means, and the answers. Pure; RFC 1035.

What is not a plain question (a response, another opcode, no or a broken question) is no question to this module: it
goes to the resolver as it is.
"""

import struct

A, AAAA, IN = 1, 28, 1
NOERROR, SERVFAIL = 0, 2
TTL_S = 10  # chaos-mesh/k8s_dns_chaos: chaos.go
MAX_NAME = 255


class Question:
    """``raw``: the question section as it came. ``name``: with dots, without the last one."""

    def __init__(self, number, flags, name, kind, raw):
        self.number, self.flags, self.name, self.kind, self.raw = number, flags, name, kind, raw


def question(message):
    """The first question of a query, or None."""
    if len(message) < 17:
        return None
    number, flags, questions = struct.unpack_from("!HHH", message)
    if flags & 0xF800 or questions != 1:  # QR, OPCODE
        return None
    labels, at = [], 12
    while True:
        if at >= len(message) or at - 12 > MAX_NAME:
            return None
        size = message[at]
        if size == 0:
            break
        if size > 63 or at + 1 + size > len(message):
            return None
        labels.append(message[at + 1:at + 1 + size].decode("latin-1"))
        at += 1 + size
    if at + 5 > len(message):
        return None
    kind = struct.unpack_from("!H", message, at + 1)[0]
    return Question(number, flags, ".".join(labels), kind, message[12:at + 5])


def means(patterns, name):
    """Whether a name is one of those meant, whatever its case. ``?``: any one character; ``*`` at the end: whatever
    follows; no patterns: all names (chaos-mesh: api/v1alpha1/dnschaos_type.go; k8s_dns_chaos: grpc_server.go asks for
    the name with and without its last dot)."""
    name = name.lower().rstrip(".")
    return not patterns or any(_fits(pattern.lower(), form) for pattern in patterns for form in (name, name + "."))


def _fits(pattern, name):
    if pattern.endswith("*"):
        pattern, name = pattern[:-1], name[:len(pattern) - 1]
    return len(pattern) == len(name) and all(
        wanted in ("?", given) for wanted, given in zip(pattern, name, strict=True))


def failure(asked):
    """The answer "server failure" to a question."""
    return _answer(asked, SERVFAIL, b"")


def random_address(asked, random):
    """An answer with an address that nobody has: of 198.18.0.0/15 (RFC 2544) or 2001:db8::/32 (RFC 3849). Questions of
    other kinds fail, as upstream. ``random``: a ``random.Random``."""
    if asked.kind == A:
        address = bytes((198, random.randrange(18, 20), random.randrange(256), random.randrange(256)))
    elif asked.kind == AAAA:
        address = b"\x20\x01\x0d\xb8" + random.randbytes(12)
    else:
        return failure(asked)
    record = struct.pack("!HHHIH", 0xC00C, asked.kind, IN, TTL_S, len(address)) + address
    return _answer(asked, NOERROR, record)


def _answer(asked, code, record):
    flags = 0x8400 | asked.flags & 0x0100 | 0x0080 | code  # a response, authoritative; RD as asked; RA
    return struct.pack("!HHHHHH", asked.number, flags, 1, 1 if record else 0, 0, 0) + asked.raw + record


def is_ours(message):
    """Whether a response is one of the above: no resolver fails with authority, and nobody has such addresses."""
    code, addresses = read_answer(message)
    return bool(message[2] & 0x04) and (
        code == SERVFAIL or any(address.startswith(("198.18.", "198.19.", "2001:0db8:")) for address in addresses))


def query(number, name, kind):
    """A query as a resolver sends it. Raises: ValueError for what is no name."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if name.rstrip(".")]
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is not a name")
    told = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + told + struct.pack("!HH", kind, IN)


def read_answer(message):
    """(code, addresses) of a response. Raises: ValueError when it is none."""
    if len(message) < 12:
        raise ValueError("a truncated answer")
    flags, questions, answers = struct.unpack_from("!HHH", message, 2)
    if not flags & 0x8000:
        raise ValueError("a question, not an answer")
    at, addresses = 12, []
    for _ in range(questions):
        at = _after_name(message, at) + 4
    for _ in range(answers):
        at = _after_name(message, at)
        if at + 10 > len(message):
            raise ValueError("a truncated answer")
        kind, _, _, size = struct.unpack_from("!HHIH", message, at)
        data = message[at + 10:at + 10 + size]
        if kind == A and len(data) == 4:
            addresses.append(".".join(map(str, data)))
        elif kind == AAAA and len(data) == 16:
            addresses.append(":".join(f"{data[i]:02x}{data[i + 1]:02x}" for i in range(0, 16, 2)))
        at += 10 + size
    return flags & 0xF, addresses


def _after_name(message, at):
    while at < len(message):
        size = message[at]
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2
        at += 1 + size
    raise ValueError("a truncated answer")
