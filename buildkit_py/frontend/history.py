"""The texts of an image's history, byte for byte as the BuildKit of docker 26 writes `created_by`.

They are Go's `%v` and `%q` of its own types, so this file says in Python what
those verbs print. `tests/frontend/test_history.py` holds the strings.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit_py.image.config import Healthcheck

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def quote(text: str) -> str:
    """A Go string literal (strconv.Quote)."""
    out = ['"']
    for ch in text:
        if ch in '"\\':
            out.append("\\" + ch)
        elif ch == " " or ch.isprintable():
            out.append(ch)
        elif ch in _ESCAPES:
            out.append(_ESCAPES[ch])
        elif ch < " " or ch == "\x7f":
            out.append(f"\\x{ord(ch):02x}")
        elif 0xDC80 <= ord(ch) <= 0xDCFF:  # a byte that is no UTF-8, as surrogateescape carries it
            out.append(f"\\x{ord(ch) - 0xDC00:02x}")
        elif ch <= "\uffff":
            out.append(f"\\u{ord(ch):04x}")
        else:
            out.append(f"\\U{ord(ch):08x}")
    return "".join(out) + '"'


def quoted_list(words: Iterable[str]) -> str:
    """`%q` of a list: `["a" "b"]`."""
    return "[" + " ".join(map(quote, words)) + "]"


def plain_list(words: Iterable[str]) -> str:
    """`%v` of a list: `[a b]`."""
    return "[" + " ".join(words) + "]"


def port_map(ports: Iterable[str]) -> str:
    """`%v` of a set of ports: `map[443/tcp:{} 80/tcp:{}]`."""
    return "map[" + " ".join(f"{port}:{{}}" for port in sorted(set(ports))) + "]"


def run_text(args: Sequence[tuple[str, str]], argv: Iterable[str]) -> str:
    """`RUN |2 A=1 B=2 /bin/sh -c make`, with the ARGs declared so far in front."""
    words = [f"{name}={value}" for name, value in args]
    if words:
        words.insert(0, f"|{len(words)}")
    return "RUN " + " ".join([*words, *argv])


def healthcheck_text(check: Healthcheck) -> str:
    """`HEALTHCHECK &{["CMD" "x"] "30s" "0s" "0s" "0s" '\\x03'}`: `%q` prints the retries as a character."""
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    durations = " ".join(quote(format_duration(value)) for value in times)
    return f"HEALTHCHECK &{{{quoted_list(check.test)} {durations} {_quoted_character(check.retries)}}}"


def _quoted_character(code: int) -> str:
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "'\ufffd'"
    ch = chr(code)
    if ch == "'":
        return "'\\''"
    if ch == '"':
        return "'\"'"
    return f"'{quote(ch)[1:-1]}'"


def format_duration(nanoseconds: int) -> str:
    """The text Go's Duration.String gives: `0s`, `1.5ms`, `30s`, `1h0m0s`."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    out = _decimal(rest, 1_000_000_000) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        out = f"{minutes}m{out}"
        if hours:
            out = f"{hours}h{out}"
    return out


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(size)) - 1, '0').rstrip('0')}"
