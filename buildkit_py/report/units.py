"""Quantities as a person reads them: sizes, durations and ages."""

from __future__ import annotations


def size(count: int) -> str:
    """A number of bytes in decimal units with three digits, as docker writes it: `1.23GB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g}{unit}"


def seconds(value: float) -> str:
    """A duration: `0.3s`, `12.0s`, `3m 4s`, `2h 5m`."""
    if value < 59.95:
        return f"{value:.1f}s"
    whole = int(value + 0.5)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"


def age(then: float, now: float) -> str:
    """How long ago something was: `5 minutes ago`."""
    past = max(0, int(now - then))
    for length, name in ((31536000, "year"), (2592000, "month"), (604800, "week"), (86400, "day"), (3600, "hour")):
        if past >= 2 * length:
            return f"{past // length} {name}s ago"
    if past >= 120:
        return f"{past // 60} minutes ago"
    return f"{past} second{'' if past == 1 else 's'} ago"


def since(created: str, now: float) -> str:
    """How long ago an RFC 3339 time was; "-" where it is empty or no time."""
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return "-"
    return age((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp(), now)
