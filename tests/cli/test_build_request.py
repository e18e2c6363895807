"""The request that a command line makes."""

from __future__ import annotations

import pytest

from buildkit_py.api.request import BuildRequest, WantedTarget
from buildkit_py.cli.build import parser
from buildkit_py.cli.build_request import build_request
from buildkit_py.cli.options import parse
from buildkit_py.errors import UsageError


@pytest.fixture
def project(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def request(project, *argv: str, parameters: bool = True, **env: str) -> BuildRequest:
    return build_request(parse(parser(parameters), argv), env, str(project))


def test_a_docker_command_line(project):
    got = request(
        project,
        *("-t", "shop:dev", "--tag=shop:1", "--target", "web", "--build-arg", "A=1", "--build-arg", "B"),
        *("--label", "x=y", "--label", "bare", "--add-host", "db:10.0.0.1", "--platform", "linux/arm64"),
        *("--no-cache-filter", "a,b", "--no-cache-filter", "c", "--network=none", "--pull", "--no-cache"),
        *("--iidfile", "id", "--metadata-file", "/m.json", "-j4", "--build-context", "base=./x", "--load", "."),
        parameters=False,
        B="from here",
    )
    assert got == BuildRequest(
        file=f"{project}/Dockerfile",
        context=str(project),
        targets=(WantedTarget("web"),),
        build_args=(("A", "1"), ("B", "from here")),
        build_contexts=(("base", "./x"),),
        tags=("shop:dev", "shop:1"),
        labels=(("x", "y"), ("bare", "")),
        hosts=(("db", "10.0.0.1"),),
        platform="linux/arm64",
        network="none",
        no_cache=True,
        no_cache_filter=("a", "b", "c"),
        pull=True,
        jobs=4,
        iidfile=f"{project}/id",
        metadata_file="/m.json",
    )


@pytest.mark.parametrize(
    ("argv", "targets"),
    [
        ((), (WantedTarget(""),)),
        (("--x=1",), (WantedTarget("", (("x", "1"),)),)),
        (("a", "b"), (WantedTarget("a"), WantedTarget("b"))),
        (("a", "--x=1", "b", "--y=2"), (WantedTarget("a", (("x", "1"),)), WantedTarget("b", (("y", "2"),)))),
        (("--x=1", "a", "--x=2", "b"), (WantedTarget("a", (("x", "2"),)), WantedTarget("b", (("x", "1"),)))),
        (("--target=a", "--x=1"), (WantedTarget("a", (("x", "1"),)),)),
        (("a", "--x=1", "--x=2"), (WantedTarget("a", (("x", "1"), ("x", "2"))),)),
        (("--x=1", "--target=a", "--x=2"), (WantedTarget("a", (("x", "1"), ("x", "2"))),)),
        (
            ("--x=1", "--x=2", "--y-z=3", "a", "b", "--x=4", "--x=5", "--y_z=6"),
            (
                WantedTarget("a", (("x", "1"), ("x", "2"), ("y-z", "3"))),
                WantedTarget("b", (("x", "4"), ("x", "5"), ("y_z", "6"))),
            ),
        ),
    ],
)
def test_targets_and_their_parameters(project, argv, targets):
    assert request(project, "Dockerfile", *argv).targets == targets


@pytest.mark.attack("K9")
def test_the_epoch(project):
    assert request(project, ".").epoch is None
    assert request(project, ".", SOURCE_DATE_EPOCH="7").epoch == 7
    assert request(project, ".", "--build-arg", "SOURCE_DATE_EPOCH=8", SOURCE_DATE_EPOCH="7").epoch == 8
    assert request(project, ".", "--build-arg", "SOURCE_DATE_EPOCH=", SOURCE_DATE_EPOCH="7").epoch is None
    assert request(project, ".", SOURCE_DATE_EPOCH="00253402300799").epoch == 253_402_300_799


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--target=a", ".", "b"), "targets are named twice"),
        (("--platform=linux/amd64,linux/arm64", "."), "names several platforms"),
        (("--label", "=x", "."), "has no name"),
        (("-j", "0", "."), "is no number of at least 1"),
        (("--build-context", "x", "."), "is no `NAME=value`"),
        (("--build-arg", "SOURCE_DATE_EPOCH=now", "."), "which is no number of seconds"),
        (("--build-arg", "SOURCE_DATE_EPOCH=-1", "."), "which is no number of seconds"),
        (("--build-arg", "SOURCE_DATE_EPOCH=253402300800", "."), "later than the year 9999"),
        (("--build-arg", f"SOURCE_DATE_EPOCH={'9' * 5000}", "."), "later than the year 9999"),
    ],
)
def test_refused(project, argv, message):
    with pytest.raises(UsageError, match=message):
        request(project, *argv)
