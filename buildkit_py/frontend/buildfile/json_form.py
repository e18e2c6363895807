"""The JSON form of arguments: `["a", "b"]` after RUN, CMD, COPY and others.

What starts with `[` and is no valid JSON is text, silently, because so are
the shell commands `[ -f x ]` and `[[ … ]]`. Valid JSON that holds anything
but strings is an error.
"""

from __future__ import annotations

from buildkit_py import json_text


def parse_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None where the text is none.

    Raises `ValueError` where it is one and an element is no string.
    """
    if not text.startswith("["):
        return None
    try:
        items = json_text.load(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in items):
        raise ValueError("a JSON array of arguments holds only strings")
    # A lone surrogate is U+FFFD to Go, and could not be written to a file here.
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in items)
