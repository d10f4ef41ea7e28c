"""What becomes of one packet: lost, late, doubled, changed. Pure, from an injected random source and the time.

Meaning: tc-netem(8) and net/sched/sch_netem.c, with one difference. netem's correlated number is a mean of the old and
the new one, which crowds towards the middle: "loss 25 correlation 90" loses almost nothing there. Here the old number
is *kept* with that probability, so that a share stays the share that was asked for, and correlation still makes runs.

An effect is JSON: ``loss``, ``duplicate``, ``corrupt`` {share, correlation}, ``reorder`` {share, correlation, gap},
``delay`` {latency_s, jitter_s, correlation}, ``rate`` {bits_per_s, burst_bytes, limit_bytes, peak_bits_per_s,
peak_burst_bytes}. Shares are 0 to 1.
"""

WIRE_BYTES = 14  # of an Ethernet header, which tc counts with a packet and netfilter does not see


class Correlated:
    """Numbers from 0 to 1, evenly spread; each is the one before with probability ``rho``."""

    def __init__(self, draw, rho):
        self.draw, self.rho, self.last = draw, rho, draw.random()

    def next(self):
        if not self.rho or self.draw.random() >= self.rho:
            self.last = self.draw.random()
        return self.last


class Chance:
    """Happens with a probability."""

    def __init__(self, draw, wanted):
        self.share, self.source = wanted.get("share", 0.0), Correlated(draw, wanted.get("correlation", 0.0))

    def happens(self):
        return self.share > 0 and self.source.next() < self.share


class Bucket:
    """A rate: tokens in ``burst_bytes`` go at once, what waits is at most ``limit_bytes`` (0: anything), as in
    tc-tbf(8)."""

    def __init__(self, wanted):
        self.bits_per_s = wanted["bits_per_s"]
        self.burst_s = self._takes_s(wanted.get("burst_bytes", 0))
        self.limit_s = self._takes_s(wanted["limit_bytes"]) if wanted.get("limit_bytes") else float("inf")
        self.burst_bytes = wanted.get("burst_bytes", 0)
        self.free_at = float("-inf")  # when all that has come is through, were there no burst

    def _takes_s(self, size):
        return size * 8 / self.bits_per_s

    def due(self, now, size):
        """When a packet that comes now is through; None: there is no room for it."""
        took_s = self._takes_s(size)
        if took_s > self.limit_s or (self.burst_bytes and size > self.burst_bytes):
            return None
        free_at = max(self.free_at, now) + took_s
        due = max(now, free_at - self.burst_s)
        if due - now > self.limit_s:
            return None
        self.free_at = free_at
        return due


class Fate:
    """Of the packets that one injection meets, in their order."""

    def __init__(self, effect, draw):
        self.draw = draw
        self.loss, self.duplicate, self.corrupt, self.reorder = (
            Chance(draw, effect.get(name) or {}) for name in ("loss", "duplicate", "corrupt", "reorder"))
        delay = effect.get("delay") or {}
        self.latency_s, self.jitter_s = delay.get("latency_s", 0.0), delay.get("jitter_s", 0.0)
        self.jitter = Correlated(draw, delay.get("correlation", 0.0))
        self.gap = max(1, (effect.get("reorder") or {}).get("gap", 0))
        self.counter = 0
        rate = effect.get("rate")
        self.buckets = [Bucket(rate)] if rate else []
        if rate and rate.get("peak_bits_per_s"):
            self.buckets.append(Bucket({"bits_per_s": rate["peak_bits_per_s"],
                                        "burst_bytes": rate.get("peak_burst_bytes", 0)}))

    def of(self, now, size):
        """When it, and each copy of it, goes on: no moment at all when it is lost. ``size``: bytes from the IP header
        on."""
        count = 1 + self.duplicate.happens() - self.loss.happens()
        found = (self._due(now, size + WIRE_BYTES) for _ in range(count))
        return [due for due in found if due is not None]

    def _due(self, now, size):
        due = now
        if self.latency_s or self.jitter_s:
            if self.reorder.share and self.counter >= self.gap - 1 and self.reorder.happens():
                self.counter = 0  # past those that wait
            else:
                self.counter += 1
                due = now + max(0.0, self.latency_s + (2 * self.jitter.next() - 1) * self.jitter_s)
        for bucket in self.buckets:
            if due is not None:
                due = bucket.due(due, size)
        return due

    def changed(self, data):
        """The packet, with one bit behind its IP header turned where it meets corruption."""
        if not self.corrupt.happens():
            return data
        start = min(len(data) - 1, (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40)
        place = self.draw.randrange(start, len(data))
        return data[:place] + bytes((data[place] ^ 1 << self.draw.randrange(8),)) + data[place + 1:]
