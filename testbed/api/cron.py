"""Cron schedules: reading them, and the next time that one names.

Five fields (minute, hour, day of month, month, day of week), a sixth before them for seconds where it is allowed, names
of months and days, ranges, steps, lists, the usual ``@`` words and ``@every <duration>``. When both days are
restricted, either is enough. A local time that a change of the clocks skips is not run.

Source: github.com/robfig/cron v3 parser.go, spec.go, constantdelay.go, which kubernetes uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

HORIZON_DAYS = 5 * 366
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Schedule:
    """``every_s`` instead of the fields: a fixed distance. ``any_day``, ``any_weekday``: that field is ``*``."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    every_s: float = 0.0
    seconds: frozenset[int] = frozenset((0,))

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first time after ``moment``, in UTC; None when there is none within five years."""
        if self.every_s:
            return moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=self.every_s)
        first = moment.astimezone(zone).date()
        for offset in range(-1, HORIZON_DAYS):
            day = first + timedelta(days=offset)
            if not self._names(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    if (found := self._in_minute(datetime.combine(day, time(hour, minute), zone), moment)) is not None:
                        return found
        return None

    def _in_minute(self, minute: datetime, moment: datetime) -> datetime | None:
        """The first time of this local minute after ``moment``, in UTC."""
        if minute.astimezone(UTC).astimezone(minute.tzinfo).replace(tzinfo=None) != minute.replace(tzinfo=None):
            return None  # the clocks skip it
        if minute.astimezone(UTC) + timedelta(seconds=60) <= moment:
            return None
        every = (minute.astimezone(UTC) + timedelta(seconds=second) for second in sorted(self.seconds))
        return next((found for found in every if found > moment), None)

    def last_before(self, moment: datetime, earliest: datetime, zone: tzinfo = UTC) -> tuple[datetime | None, int]:
        """(the latest time after ``earliest`` and not after ``moment``, about how many there were)."""
        first = self.next_after(earliest, zone)
        if first is None or first > moment:
            return None, 0
        second = self.next_after(first, zone)
        if second is None or second > moment:
            return first, 1
        between_s = max((second - first).total_seconds(), 1.0)
        count = int((moment - first).total_seconds() // between_s) + 1
        if self.every_s:
            return first + timedelta(seconds=between_s * (count - 1)), count
        span_s = 2 * between_s
        while True:
            found = self.next_after(max(first, moment - timedelta(seconds=span_s)), zone)
            if found is not None and found <= moment:
                break
            if span_s > (moment - first).total_seconds():
                return first, count
            span_s *= 4
        while (later := self.next_after(found, zone)) is not None and later <= moment:
            found = later
        return found, count

    def _names(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def parse(text: str, *, seconds_allowed: bool = False) -> Schedule:
    """Args: seconds_allowed: six fields are read too, the first being seconds. Raises: ValueError that says what is
    wrong."""
    text = text.strip()
    if text.startswith("@every "):
        return Schedule(every_s=_duration_s(text.removeprefix("@every ").strip()))
    if text.startswith("@"):
        if text not in _WORDS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    fields = text.split()
    if seconds_allowed and len(fields) not in (5, 6):
        raise ValueError(f"expected 5 to 6 fields, found {len(fields)}: [{text}]")
    if not seconds_allowed and len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else ["0", *fields]
    return Schedule(
        seconds=_field(second, 0, 59),
        minutes=_field(minute, 0, 59), hours=_field(hour, 0, 23), days=_field(day, 1, 31),
        months=_field(month, 1, 12, _MONTHS), weekdays=_field(weekday, 0, 6, _DAYS),
        any_day=_is_any(day), any_weekday=_is_any(weekday),
    )


def _is_any(field: str) -> bool:
    return any(part.partition("/")[0] in ("*", "?") for part in field.split(","))


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, ()) if slash else 1
        if span in ("*", "?"):
            start, end = low, high
        else:
            first, dash, last = span.partition("-")
            start = _number(first, names, low)
            end = _number(last, names, low) if dash else high if slash else start
        if start < low or end > high:
            raise ValueError(f"value {text} is not between {low} and {high}")
        if start > end:
            raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
        if step == 0:
            raise ValueError(f"step of range should be a positive number: {text}")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], low: int = 0) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not text.isdigit():
        raise ValueError(f"failed to parse int from {text!r}")
    return int(text)


def _duration_s(text: str) -> float:
    parts = _DURATION.findall(text)
    total_s = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or total_s < 1:
        raise ValueError(f"failed to parse duration {text!r}: at least one second, such as 90s or 1h30m")
    return float(int(total_s))
