"""Escaping: text from steps, registries and file names made safe for a terminal by showing its control characters.

A step may print sequences that retitle the window, fill the clipboard, clear
the screen or overwrite lines; bidirectional controls reorder what a person
reads. All of them are shown (`\\x1b[2J`, `\\r`, `\\u202e`) and none is obeyed.
"""

from __future__ import annotations

_BIDI = frozenset((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_INVISIBLE = frozenset((0x00AD, 0x200B, 0x2060, 0x2028, 0x2029, 0xFEFF, *range(0xE0000, 0xE0080)))
_NAMED = {ord("\r"): "\\r", ord("\n"): "\\n", ord("\a"): "\\a", ord("\b"): "\\b"}


def _written(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Shown(dict[int, str]):
    """The table for `str.translate`, filled as characters come up: nearly all text is printable and asks for none."""

    def __missing__(self, code: int) -> str:
        control = code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000
        if (control and code != ord("\t")) or code in _BIDI or code in _INVISIBLE:
            self[code] = _NAMED.get(code) or _written(code)
        else:
            self[code] = chr(code)
        return self[code]


_SHOWN = _Shown()


def visible(text: str) -> str:
    """The text with every character that a terminal would obey written out; tabs stay."""
    return text if text.isprintable() else text.translate(_SHOWN)


def line(text: str) -> str:
    """`visible` for one line of a program's output; the carriage return of a CRLF is no part of it."""
    return text if text.isprintable() else text.removesuffix("\r").translate(_SHOWN)
