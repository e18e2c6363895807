"""Signals as STOPSIGNAL names them: `SIGTERM`, `term`, `15`, `RTMIN+3`."""

from __future__ import annotations

_NAMES = frozenset(
    (
        *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT"),
        *("IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT"),
        *("STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "UNUSED", "URG", "USR1"),
        *("USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
    )
)


def is_signal(text: str) -> bool:
    """Whether docker takes this text for a signal of Linux."""
    digits = text.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return 0 < int(digits.lstrip("0")[:3] or "0") <= 64
    name = text.upper().removeprefix("SIG")
    if name in _NAMES:
        return True
    base, plus, number = name.partition("+" if name.startswith("RTMIN") else "-")
    limit = {"RTMIN": 15, "RTMAX": 14}.get(base, -1)
    return bool(plus) and number.isdigit() and 1 <= int(number) <= limit


def near_signal(text: str) -> str:
    """The hint for a name that is nearly one of a signal, "" for others."""
    from buildkit_py.frontend.buildfile.suggest import did_you_mean

    return did_you_mean(text, [f"SIG{name}" for name in _NAMES])
