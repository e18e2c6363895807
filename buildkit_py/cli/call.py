"""`pybuild build --call=…`: an answer about the file in the place of a build, in the forms that buildx has."""

from __future__ import annotations

import os
import sys

from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.check import CheckRequest
    from buildkit_py.cli.options import Parsed

METHODS = ("build", "check", "outline", "targets")
_FOUND = 1
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def method(parsed: Parsed) -> str:
    """What `--call` and `--check` ask for, "" for a build. Raises `UsageError` for what is none of the methods."""
    name = parsed.one("call").partition(",")[0]
    if parsed.has("check"):
        if name not in ("", "check", "lint"):
            raise UsageError(f"`--check` and `--call={name}` ask for different things")
        return "check"
    name = {"lint": "check", "build": ""}.get(name, name)
    if name and name not in METHODS:
        from buildkit_py.cli.options import near

        hint = near(name, METHODS) or f"it is one of {', '.join(METHODS)}"
        raise UsageError(f"`--call={name}` is not known", hint=hint)
    return name


def call(parsed: Parsed, name: str) -> int:
    """Print the answer; 1 where checks found something, unless `ignorestatus` is among the settings."""
    import json

    settings = _settings(parsed.one("call"))
    request = _request(parsed)
    from buildkit_py.report import call as report

    status = 0
    error = None
    if name == "check":
        from buildkit_py.api.check import check

        checked = check(request)
        text, document = report.check_text(checked), report.check_json(checked)
        status = _FOUND if checked.findings and not settings["ignorestatus"] else 0
        error = checked.error
    else:
        from buildkit_py.api import call as api

        if name == "outline":
            answer = api.outline(request)
            text, document = report.outline_text(answer), report.outline_json(answer)
        else:
            answer = api.targets(request.file)
            text, document = report.targets_text(answer), report.targets_json(answer)
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n" if settings["json"] else text)
    if error is not None:
        sys.stdout.flush()
        raise error
    return status


def _settings(text: str) -> dict[str, bool]:
    """What follows the method: `format=text|json`, `ignorestatus[=true|false]`."""
    found = {"json": False, "ignorestatus": False}
    for field in text.split(",")[1:]:
        key, equals, value = field.partition("=")
        if key == "format" and value in ("text", "json"):
            found["json"] = value == "json"
        elif key == "ignorestatus" and (not equals or value in (*_TRUE, *_FALSE)):
            found[key] = not equals or value in _TRUE
        else:
            hint = "`format=text`, `format=json` and `ignorestatus=true` may follow the method"
            raise UsageError(f"`{field}` in `--call={text}` is not known", hint=hint)
    return found


def _request(parsed: Parsed) -> CheckRequest:
    from buildkit_py.api.check import CheckRequest
    from buildkit_py.cli import values
    from buildkit_py.cli.build_request import wanted_targets
    from buildkit_py.cli.locate import here, is_remote, locate

    targets = wanted_targets(parsed)
    if len(targets) > 1:
        raise UsageError("`--call` is about one target", hint="name one, or none for the default one")
    operand = parsed.operands[0]
    file, context = ("-", "") if operand == "-" else locate(operand, parsed.one("file"), here())
    if is_remote(context):
        raise UsageError("`--call` reads a Buildfile of this machine", hint="check the context out and name it")
    extra = targets[0].parameters
    return CheckRequest(
        file=file,
        context=context,
        target=targets[0].name,
        build_args=(*values.from_environment(parsed.all("build-arg"), "--build-arg", os.environ), *extra),
        build_contexts=tuple(values.pair(text, "--build-context") for text in parsed.all("build-context")),
        platform=parsed.one("platform", os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
        own=False,
    )
