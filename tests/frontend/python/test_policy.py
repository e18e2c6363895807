"""The keywords of `run()` that say how a command is run."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.image import scratch
from buildkit_py.graph.op import Policy


def test_every_keyword() -> None:
    action = (
        scratch()
        .run(
            "make",
            inputs=["src/**", "!src/gen"],
            timeout="1d1h",
            retry=2,
            ttl="7d",
            always=True,
            cpus=1.5,
            memory="512m",
            pool="net:3",
            save_always={"/out/report.xml": "out/", "log": ""},
        )
        .action
    )
    assert action.policy == Policy(  # type: ignore[union-attr]
        timeout=90_000_000,
        retry=2,
        ttl=7 * 86_400,
        always=True,
        cpus=1500,
        memory=512 << 20,
        pool="net",
        pool_size=3,
        save_always=(("/out/report.xml", "out/"), ("log", "log")),
    )
    assert action.inputs == ("src/**", "!src/gen")  # type: ignore[union-attr]
    assert scratch().run("make").action.policy == Policy()  # type: ignore[union-attr]
    assert scratch().run("make", memory=1 << 30, cpus=2).action.policy == Policy(memory=1 << 30, cpus=2000)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"timeout": 10}, "`timeout` of run() must be str, got int 10"),
        ({"timeout": "soon"}, "`timeout`: `soon` is no length of time"),
        ({"retry": "2"}, "`retry` of run() must be int, got str '2'"),
        ({"retry": -1}, "`retry`: `-1` is no number of retries"),
        ({"retry": True}, "`retry` of run() cannot be bool True"),
        ({"ttl": "1ms"}, "`ttl`: `1ms` is shorter than a second"),
        ({"always": 1}, "`always` of run() must be bool, got int 1"),
        ({"cpus": 0.001}, "`cpus`: `0.001` is less than a hundredth of a processor"),
        ({"cpus": -1}, "`cpus`: `-1.000` is no number of processors"),
        ({"memory": "lots"}, "`memory`: `lots` is no size"),
        ({"memory": 5}, "`memory`: `5` is not a size between 1m"),
        ({"pool": "net"}, "`pool`: `net` is no pool"),
        ({"inputs": "src"}, "`inputs` of run() must be a list of str"),
        ({"inputs": [""]}, "`inputs`: there is no pattern"),
        ({"inputs": ["a[z"]}, "`inputs`: "),
        ({"save_always": "/x"}, "`save_always` of run() must be a list of str"),
        ({"save_always": {"/x": "../y"}}, "`save_always`: `../y` leads out of the project"),
        ({"save_always": {"/x": 1}}, "each place in `save_always` of run() must be str"),
    ],
)
def test_what_cannot_be_meant(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        scratch().run("make", **keywords)
    assert message in caught.value.message
