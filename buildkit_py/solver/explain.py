"""Explaining: what differs between what a step's result hangs on now and what an earlier one hung on.

Pure: it compares facts and writes sentences. Where facts come from and which
earlier step is the one to compare with is `api/why.py`'s business.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from buildkit_py.image.listing import Listed, Listings

# What can be told of a step, most telling first.
FILES = "files"
MODE = "mode"
COMMAND = "command"
ENV = "env"
OPTION = "option"
BASE = "base"
INPUT = "input"
TOOL = "tool"
ASKED = "asked"
FAILED = "failed"
EVICTED = "evicted"
NEW = "new"
UNLIKE = "unlike"
_RANKS = (ASKED, FILES, MODE, COMMAND, ENV, OPTION, BASE, TOOL, FAILED, EVICTED, INPUT, NEW, UNLIKE)

# The fields of each op's key parts, as `keys.op_parts` orders them behind the tag; a test compares the two.
# What stands behind those is (name, value), and only there if it has a value.
_RUN = (
    *("argv", "env", "cwd", "user", "network", "hostname", "platform", "mounts", "pipes", "hosts"),
    *("security", "capture"),
)
FIELDS = {
    "run": _RUN,
    "test": _RUN,
    "copy": ("items", "dest", "owner", "mode", "exclude", "parents", "link", "unpack"),
    "mkdir": ("path", "user"),
    "restack": ("inputs",),
    "http": ("digest", "name"),
    "git": ("commit", "subdir", "submodules", "origin"),
}
_WORDS = {
    "cwd": "the working directory",
    "user": "the user",
    "network": "the network",
    "hostname": "the host name",
    "platform": "the platform",
    "hosts": "the extra hosts",
    "security": "the security mode",
    "dest": "the destination",
    "owner": "the owner to set",
    "mode": "the mode to set",
    "exclude": "what is excluded",
    "path": "the directory",
    "inputs": "its inputs",
    "digest": "what the URL gave",
    "name": "the name of the file",
    "commit": "the commit",
    "subdir": "the directory of the repository",
    "origin": "the repository",
}
_NAMED_FILES = 3
_CONTEXT_WORDS = 3
_LONGEST = 200


class Cause(Record):
    """One reason, as a sentence without its full stop: `kind` is one of those above, `paths` the files it speaks of."""

    kind: str
    text: str
    paths: tuple[str, ...] = ()


class Facts(Record):
    """What a step's result hangs on besides the steps below: the parts of its op, and what it took of contexts."""

    op: tuple[Any, ...]
    listings: Listings = ()


def ranked(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The causes, most telling first."""
    return tuple(sorted(causes, key=lambda cause: _RANKS.index(cause.kind)))


def hangs_on_base(op: tuple[Any, ...]) -> bool:
    """Of the parts of an op, what `keys.uses_base` says of the op itself."""
    named = _named(op)
    return not (named.get("link") or named.get("inputs"))


def differences(before: Facts, now: Facts) -> list[Cause]:
    """What of a step itself and of the files that it took changed, in no order."""
    causes = _op_differences(before.op, now.op)
    # Modes and owners that a COPY sets itself were not looked at: where that is another, they are no difference.
    set_here = any(_named(before.op).get(name) != _named(now.op).get(name) for name in ("mode", "owner"))
    seen = _file_differences(before.listings, now.listings)
    return [*causes, *(cause for cause in seen if not (set_here and cause.kind == MODE))]


def _op_differences(before: tuple[Any, ...], now: tuple[Any, ...]) -> list[Cause]:
    if before == now:
        return []
    if before[:1] != now[:1]:
        return [Cause(COMMAND, f"it was another instruction: {before[0]}, now {now[0]}")]
    old, new = _named(before), _named(now)
    causes: list[Cause] = []
    for name in dict.fromkeys((*old, *new)):
        was, is_ = old.get(name, ()), new.get(name, ())
        if was != is_:
            causes += _field_differences(name, was, is_)
    return causes


def _named(parts: tuple[Any, ...]) -> dict[str, Any]:
    fields = FIELDS.get(parts[0], ())
    return {**dict(zip(fields, parts[1:], strict=False)), **dict(parts[len(fields) + 1 :])}


def _field_differences(name: str, old: Any, new: Any) -> list[Cause]:
    match name:
        case "env":
            return _env_differences(dict(old), dict(new))
        case "argv":
            return [Cause(COMMAND, f"the command: {word_diff(_command(old), _command(new))}")]
        case "items":
            was, is_ = _items(old), _items(new)
            told = "the text of a heredoc" if was == is_ else word_diff(was, is_)
            return [Cause(COMMAND, f"what is copied: {told}")]
        case "pipes":
            return [Cause(COMMAND, "the text of its heredoc")]
        case "mounts":
            return [Cause(OPTION, f"its mounts: {word_diff(_mounts(old), _mounts(new))}")]
        case "services":
            return _service_differences(old, new)
        case "seeds":
            return _service_differences((old,) if old else (), (new,) if new else ())
        case _ if name in _WORDS:
            return [Cause(OPTION, f"{_WORDS[name]}: {_value(old)} → {_value(new)}")]
        case _:
            return [Cause(OPTION, f"`{name}` was switched {'on' if new else 'off'}")]


def _env_differences(old: dict[str, str], new: dict[str, str]) -> list[Cause]:
    causes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            causes.append(Cause(ENV, f"the variable {name} is not set any more (was {_value(old[name])})"))
        elif name not in old:
            causes.append(Cause(ENV, f"the variable {name} is new: {_value(new[name])}"))
        elif old[name] != new[name]:
            causes.append(Cause(ENV, f"the variable {name}: {_value(old[name])} → {_value(new[name])}"))
    return causes


# The fields of a service's key parts behind its name and the number of its source, in the order of `keys`; the last is
# there where it is seeded.
_SERVICE = (
    *("the command", "env", "the working directory", "the user", "the port", "the command that says it is ready"),
    "the stop signal",
)


def _service_differences(old: Sequence[tuple[Any, ...]], new: Sequence[tuple[Any, ...]]) -> list[Cause]:
    before, after = {one[0]: one[2:] for one in old}, {one[0]: one[2:] for one in new}
    causes = [Cause(OPTION, f"the service `{name}` is new") for name in after if name not in before]
    causes += [Cause(OPTION, f"the service `{name}` is not asked for any more") for name in before if name not in after]
    for name, fields in after.items():
        for what, was, is_ in zip(_SERVICE, before.get(name, ()), fields, strict=False):
            if was == is_:
                continue
            if what == "env":
                found = _env_differences(dict(was), dict(is_))
                causes += [cause.replace(text=f"of the service `{name}` {cause.text}") for cause in found]
                continue
            listed = isinstance(is_, tuple)
            told = word_diff(_command(was), _command(is_)) if listed else f"{_value(was)} → {_value(is_)}"
            causes.append(Cause(OPTION, f"{what} of the service `{name}`: {told}"))
    # The number of its source differs also for a mount before it, which has a cause of its own.
    if [name for name in before if name in after] != [name for name in after if name in before]:
        causes.append(Cause(OPTION, "the order of its services"))
    return causes


def _command(argv: Sequence[str]) -> str:
    """A command as a person wrote it: the shell's own words left out."""
    return argv[-1] if len(argv) > 1 and argv[-2] == "-c" else " ".join(argv)


def _items(items: Sequence[tuple[Any, ...]]) -> str:
    return " ".join(item[1] if item[0] == "path" else f"<<{item[1]}" for item in items)


def _mounts(mounts: Sequence[tuple[Any, ...]]) -> str:
    return " ".join(",".join(str(part) for part in mount if part not in ("", -1)) for mount in mounts)


def _value(value: object) -> str:
    text = (
        value if isinstance(value, str) else " ".join(str(one) for one in value) if type(value) is tuple else str(value)
    )
    return f"`{_short(text)}`"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def word_diff(old: str, new: str) -> str:
    """Two texts as one: `[-was-]` and `{+is+}` as `git diff --word-diff` has them, long equal runs cut short."""
    from difflib import SequenceMatcher

    before, after = old.split(), new.split()
    if before == after:
        return "white space only"
    pieces: list[str] = []
    for what, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            same = before[i:j]
            if len(same) > 2 * _CONTEXT_WORDS:
                head = same[:_CONTEXT_WORDS] if pieces else ["…"]
                tail = same[-_CONTEXT_WORDS:] if j < len(before) or m < len(after) else []
                same = [*head, *(["…"] if pieces else []), *tail]
            pieces.append(" ".join(same))
            continue
        if i < j:
            pieces.append(f"[-{_short(' '.join(before[i:j]))}-]")
        if k < m:
            pieces.append(f"{{+{_short(' '.join(after[k:m]))}+}}")
    return " ".join(pieces)


def _file_differences(before: Listings, now: Listings) -> list[Cause]:
    if before == now or not before or not now:
        return []
    old, new = _files(before), _files(now)
    changed, modes, attributes = [], [], []
    for path in sorted(old.keys() & new.keys()):
        was, is_ = old[path], new[path]
        if (was.kind, was.body) != (is_.kind, is_.body):
            changed.append(path)
        elif was.mode != is_.mode:
            modes.append(path)
        elif was != is_:
            attributes.append(path)
    causes = []
    for verb, paths in (
        ("changed", changed),
        ("is new", sorted(new.keys() - old.keys())),
        ("is gone", sorted(old.keys() - new.keys())),
    ):
        if paths:
            causes.append(Cause(FILES, _sentence(paths, verb), tuple(paths)))
    if len(modes) == 1:
        path = modes[0]
        causes.append(Cause(MODE, f"{path} has another mode: {old[path].mode:o} → {new[path].mode:o}", (path,)))
    elif modes:
        causes.append(Cause(MODE, _sentence(modes, "has another mode"), tuple(modes)))
    if attributes:
        causes.append(Cause(MODE, _sentence(attributes, "has other attributes or another owner"), tuple(attributes)))
    return causes


def not_reproducible(files: Sequence[tuple[str, str]], more: bool, build: str) -> Cause:
    """That a step gave something else for the same inputs; `files` are paths and how each was otherwise, `build` is the
    build where that showed, "" for the one that is explained.
    """
    told = [f"{path} ({how})" if path else how for path, how in files[:_NAMED_FILES]]
    left = len(files) - len(told)
    if left or more:
        told.append(f"{'at least ' if more else ''}{left} more")
    where = f" in the build {build}" if build else ""
    text = f"not reproducible: the same inputs gave other files{where}: {', '.join(told)}"
    return Cause(UNLIKE, text, tuple(path for path, _ in files if path))


def _files(listings: Listings) -> dict[str, Listed]:
    """What was taken of all sources, by the path it has in its source."""
    from buildkit_py.image.listing import listed

    found: dict[str, Listed] = {}
    for source in listings:
        for prefix, data in source:
            for path, entry in listed(data).items():
                found["/".join(part for part in (prefix, path) if part)] = entry
    return found


def _sentence(paths: Sequence[str], verb: str) -> str:
    named = ", ".join(paths[:_NAMED_FILES])
    if len(paths) == 1:
        return f"{named} {verb}"
    plural = verb.replace("is ", "are ", 1).replace("has ", "have ", 1)
    more = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
    return f"{len(paths)} files {plural}: {named}{more}"
