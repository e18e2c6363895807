"""A signal's number, from what people and images write: `SIGTERM`, `term`, `15`, `RTMIN+3`."""

from __future__ import annotations

from buildkit_py.errors import UsageError


def signal_number(text: str) -> int:
    """Raises `UsageError` for what names no signal of Linux."""
    import signal

    name = text.upper().removeprefix("SIG")
    base, sign, digits = name.partition("+" if "+" in name else "-")
    number = -1
    if name.isascii() and name.isdecimal():
        number = int(name[:3])
    elif not sign and f"SIG{name}" in signal.Signals.__members__:
        number = signal.Signals[f"SIG{name}"]
    elif base + sign in ("RTMIN+", "RTMAX-") and digits.isascii() and digits.isdecimal():
        first = signal.SIGRTMIN if base == "RTMIN" else signal.SIGRTMAX
        number = first + int(digits[:3]) * (1 if sign == "+" else -1)
    if not 1 <= number <= 64:
        raise UsageError(f"`{text}` is no signal", hint="a name like TERM or SIGHUP, or a number")
    return int(number)
