"""How a sandbox's end is told: the command's code, a shell's codes for what could not start, errors for set-up."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Box


def test_codes_of_the_command(box: Box) -> None:
    assert box.sh("exit 42").code == 42
    assert box.run("true").code == 0
    assert box.sh("sh -c 'kill -9 $$'; exit $?").code == 128 + 9
    assert box.sh("sh -c 'kill -11 $$'; exit $?").code == 128 + 11


def test_process_one_does_not_feel_its_own_signals(box: Box) -> None:
    assert box.lines("kill -9 $$; kill -15 $$; echo survived") == ["survived"]


def test_a_signal_that_kills_process_one(box: Box) -> None:
    # Handlers are default, so only a fault can.
    layer = {"bad": b"\x7fELF" + bytes(60)}
    assert box.run("/bad", layers=[layer]).code == 126


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("nope",), 127, 'exec: "nope": executable file not found in $PATH'),
        (("/no/such",), 127, 'exec: "/no/such": no such file or directory'),
        (("/etc/passwd/x",), 127, "no such file or directory"),
        (("/etc",), 126, 'exec: "/etc": permission denied'),
        (("/etc/passwd",), 126, "permission denied"),
        (("/script",), 127, "no such file or directory"),
        (("/text",), 126, "exec format error"),
        (("",), 127, "executable file not found"),
    ],
)
def test_commands_that_cannot_start(box: Box, argv: tuple[str, ...], code: int, words: str) -> None:
    layer = {"script": b"#!/no/interpreter\n", "text": b"just text\n"}
    result = box.run(*argv, layers=[layer])
    assert (result.code, result.error) == (code, "")
    assert words in result.err


def test_a_program_in_a_later_directory_of_the_path(box: Box) -> None:
    layer = {"a/tool/": b"", "a/tool": b""}
    del layer["a/tool"]
    layer["b/tool"] = b"#!/bin/sh\necho found $0\n"
    result = box.run("tool", layers=[layer], env=(("PATH", "/none:/etc/passwd:/a:/b:/bin"),))
    assert result.out == "found /b/tool\n"


@pytest.mark.parametrize(
    "link", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/7", "/proc/thread-self/exe", "/proc/self/cwd/bin/sh"]
)
@pytest.mark.attack("S2")
def test_programs_behind_magic_links_are_refused(box: Box, link: str) -> None:
    layer = {
        "bin/link": b"->" + link.encode(),
        "bin/script": b"#!" + link.encode() + b"\n",
        "bin/second": b"#! /bin/script -x\n",
        "bin/third": b"#!/bin/link\n",
    }
    for name in (link, "/bin/link", "link", "script", "/bin/second", "third"):
        result = box.run(name, "-c", "echo RAN", layers=[layer])
        assert (result.code, result.error, result.out) == (126, "", ""), name
        assert "leads out of the sandbox" in result.err


@pytest.mark.attack("S18")
def test_unknown_users(box: Box) -> None:
    result = box.sh("true", user="bob")
    assert result.error == "unable to find user bob: no matching entries in passwd file"
    result = box.sh("true", user="0:nosuch")
    assert result.error == "unable to find group nosuch: no matching entries in group file"
    for user in ("-1", "4294967295", "0:-1", "99999999999"):
        assert "out of range" in box.sh("true", user=user).error


def test_set_up_failures_name_stage_and_place(box: Box) -> None:
    from buildkit_py.sandbox.spec import RootFilesystem

    result = box.sh("true", root=RootFilesystem(layers=("/no/such/layer",), upper="@"))
    assert (result.error, result.at) == ("cannot open the layer: no such file or directory", "/no/such/layer")
    result = box.sh("true", cwd="/etc/passwd")
    assert (result.error, result.at) == ("cannot enter the working directory: not a directory", "/etc/passwd")
    result = box.sh("true", env=(("A=B", "c"),))
    assert result.error == "set the environment: not a variable's name (A=B)"
    assert box.run("true", env=(("A", "hu\0sh"),)).error == "set the environment: a value has a NUL character (A)"
    assert box.sh("true", network="bridge").error == "connect to a network: there is no network bridge"
    result = box.run("a\0b")
    assert "NUL" in result.error


def test_many_arguments_and_their_limit(box: Box) -> None:
    words = ["x" * 1000] * 100
    assert box.run("sh", "-c", "echo $#", "sh", *words).out == "100\n"
    result = box.run("true", "x" * 200_000)
    assert (result.code, "argument list too long" in result.err) == (126, True)
