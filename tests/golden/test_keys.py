"""Golden cache keys: one that changes without a new `step_key.FORMAT` would make old caches lie or be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildkit_py.digest import canonical, decode, key_of
from buildkit_py.graph import step_key
from buildkit_py.graph.op import (
    Copy,
    CopyPath,
    GitSource,
    HostSource,
    HttpSource,
    ImageSource,
    Inline,
    Mkdir,
    Mount,
    Pipe,
    Policy,
    Restack,
    Run,
    Service,
)
from buildkit_py.solver import keys
from buildkit_py.store.chain import chain, layer_id

if TYPE_CHECKING:
    from buildkit_py.graph.op import Op

RUN = Run(
    argv=("/bin/sh", "-c", "make"),
    env=(("PATH", "/bin"), ("A", "1")),
    cwd="/src",
    user="app:staff",
    network="none",
    platform="linux/amd64",
    mounts=(
        Mount("bind", "/in", source=0, path="/a"),
        Mount("cache", "/root/.cache", id="pip", sharing="locked", read_only=False),
        Mount("tmpfs", "/tmp", size=1024),
        Mount("secret", "/run/secrets/token", id="token", mode=0o400, required=True),
    ),
    pipes=(Pipe("EOF", b"#!/bin/sh\ntrue\n"),),
    hosts=(("db", "10.0.0.1"),),
    proxy_env=(("HTTP_PROXY", "http://proxy"),),
)
COPY = Copy((CopyPath("src"), Inline("x", b"y")), "/dst/", owner="1:2", mode="u=rwX", exclude=("*.o",), parents=True)

SERVICE = Service("db", 1, ("entry", "postgres"), (("PATH", "/bin"),), "/data", "pg", 5432, ("/bin/sh", "-c", "up"))
HTTP = HttpSource("https://h/f", "f", "sha256:" + "0" * 64)
GIT = GitSource("https://h/r.git", "main", "/d", commit="1" * 40)

GOLDEN = {
    "run": (RUN, "b4208f939743c1302a6da2ecd215090333c263c00200847d058dc5f06792e881"),
    "run with inputs": (
        RUN.replace(inputs=("/src/**/*.c", "!/src/gen")),
        "ea974e018e15cbb0671e860744663ec0104cf2e5ccea4291ddaa81a9b22172bd",
    ),
    "run with a service": (
        RUN.replace(services=(SERVICE,)),
        "341bbbd37337223895a8debeed520de5ab74f5db8faf194c73f04348a5ebc115",
    ),
    "seed of a service": (
        RUN.replace(seeds=SERVICE.replace(source=-1)),
        "e45397f6e95589d437d980bc499076721a3c3925cb6cb5930ac071087fd61861",
    ),
    "test": (RUN.replace(test=True), "0a0c60cfb6eb7a259163755a6e0dcc9067407a5d573419e4abaa06bbcbe861da"),
    "copy": (COPY, "a21fa9e5a8780d9e5fc8b9245db84f4db7536d5ff337cfab8e15d3ca42633e4e"),
    "mkdir": (Mkdir("/app", "app"), "74fd9627d8e94ed6e86bd70ebaeabfc60bf37e30b5623e600107046b06b149e9"),
    "image": (
        ImageSource("sha256:" + "0" * 64, "linux/arm64/v8", ("1" * 64,), "debian:trixie"),
        "e5e8ae5d51b39fd7fa9b97da7019b3b5c0ea98b0627e685fba9c114c4b2a2cad",
    ),
    "http": (HTTP, "f78db836120221a1f89997e32e8d4375b98960f969b59e6f0a5b39ba42f4c15c"),
    "git": (GIT, "9058c25b6e7543da2c88e63be9729aa8c65b2000a16f0d724f59a3ddeb225293"),
    "copy of sources that unpack each as it likes": (
        Copy((CopyPath("/f", unpack=True), CopyPath("/g", 1, unpack=False)), "/"),
        "ce3f7f00b210135ef49b7b741bf8fa2d838178dc7e66abaf38c6cc0333d310f4",
    ),
    "restack": (Restack(("/src/**",)), "09ff4764234b80827ddb757759296af41a393253d29f0140c8d4650a1e68216b"),
    "host": (HostSource("debian 13"), "4da5d15a0a7f952701e8afcf0d2cdfbb50affb01aa52112722f4209205af16d9"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_definition_key(name: str) -> None:
    op, wanted = GOLDEN[name]
    assert step_key.definition_key(keys.op_parts(op), "base", (("step", "s"), ("content", "c"))) == wanted


def test_content_key() -> None:
    assert (
        step_key.content_key(keys.op_parts(RUN), "base", ("s",))
        == "ff11625245c3f5c9641f44e0ae68dd61f4ff6e439fbe7f4f55fb23eecf9c0ea6"
    )


@pytest.mark.attack("H10")
def test_names_of_layers() -> None:
    """They travel: another pybuild makes them anew from what a cache says, and leaves out what is called otherwise."""
    base, content, times = key_of("a"), key_of("b"), key_of("t")
    assert layer_id(base, content) == "775be8ee48095ac80169e4380685f2056c2feea7e60362571d191a51e21226e1"
    assert layer_id("", content) == "c6fac5b73bb0ad8f645d8a374cbf4addf15874ae6cc33e092cf6cf3345a65457"
    assert layer_id(base, content, times) == "f29ddb8c495591994b13b95520647e38c0bb432319907e1f2edcf877041471d8"
    assert chain(base, content, empty=False) == "d6709619d1b6825bd1fdbf4e8d40c5bb2562b5c1d1cba83c9764b00f123fd353"
    assert chain(base, content, empty=True) == base


def test_canonical_bytes() -> None:
    value = (None, True, False, -12, "é\udcff", b"\x00", ("a", ()), {"b": 1, "a": 2})
    encoded = canonical(value)
    assert encoded == b"l8:ntfi-12;s3:\xc3\xa9\xffb1:\x00l2:s1:al0:d2:s1:ai2;s1:bi1;"
    assert decode(encoded) == value


@pytest.mark.parametrize(
    "field",
    [
        {"argv": ("other",)},
        {"env": (("A", "2"),)},
        {"env": (("A", "1"), ("PATH", "/bin"))},
        {"cwd": "/"},
        {"user": ""},
        {"network": "host"},
        {"hostname": "h"},
        {"platform": "linux/arm64"},
        {"mounts": ()},
        {"mounts": (RUN.mounts[0].replace(path="/b"), *RUN.mounts[1:])},
        {"mounts": (RUN.mounts[0].replace(read_only=False), *RUN.mounts[1:])},
        {"mounts": (*RUN.mounts[:3], RUN.mounts[3].replace(mode=0o444))},
        {"pipes": ()},
        {"hosts": ()},
        {"security": "insecure"},
        {"capture": True},
        {"inputs": ("/src/**/*.c",)},
        {"test": True},
        {"services": (SERVICE,)},
        {"seeds": SERVICE},
    ],
)
@pytest.mark.attack("H9", "H10")
def test_every_field_that_decides_a_run_is_in_its_key(field: dict[str, object]) -> None:
    assert keys.op_parts(RUN.replace(**field)) != keys.op_parts(RUN)


@pytest.mark.parametrize(
    "field",
    [
        {"name": "x"},
        {"source": 2},
        {"argv": ()},
        {"env": ()},
        {"cwd": "/"},
        {"user": ""},
        {"port": 1},
        {"ready": ()},
    ],
)
def test_every_field_that_decides_a_service_is_in_the_key(field: dict[str, object]) -> None:
    one, other = (RUN.replace(services=(service,)) for service in (SERVICE, SERVICE.replace(**field)))
    assert keys.op_parts(one) != keys.op_parts(other)


def test_how_a_service_ends_decides_what_its_seed_comes_to() -> None:
    one, other = (RUN.replace(seeds=SERVICE.replace(stop_signal=signal)) for signal in ("SIGINT", "SIGTERM"))
    assert keys.op_parts(one) != keys.op_parts(other)


@pytest.mark.parametrize("field", [{"timeout": 1}, {"stop_signal": "SIGINT"}])
def test_what_does_not_decide_a_service_is_not(field: dict[str, object]) -> None:
    one, other = (RUN.replace(services=(service,)) for service in (SERVICE, SERVICE.replace(**field)))
    assert keys.op_parts(one) == keys.op_parts(other)


@pytest.mark.parametrize(
    "field",
    [
        {"hosts": (("db", "10.9.9.9"),)},
        {"proxy_env": ()},
        {"ignore_cache": True},
        {"policy": Policy(1, 2, 3, True, 5, 6, "pool", 7, (("/a", "b"),))},
        {"mounts": (RUN.mounts[0], RUN.mounts[1].replace(id="other", sharing="private"), *RUN.mounts[2:])},
    ],
)
def test_what_does_not_decide_a_run_is_not(field: dict[str, object]) -> None:
    assert keys.op_parts(RUN.replace(**field)) == keys.op_parts(RUN)


@pytest.mark.parametrize(
    "field",
    [
        {"items": COPY.items[:1]},
        {"items": (CopyPath("src", wildcard=False), COPY.items[1])},
        {"items": (COPY.items[0], Inline("x", b"z"))},
        {"dest": "/dst"},
        {"owner": ""},
        {"mode": "755"},
        {"exclude": ()},
        {"parents": False},
        {"link": True},
        {"unpack": True},
    ],
)
def test_every_field_that_decides_a_copy_is_in_its_key(field: dict[str, object]) -> None:
    assert keys.op_parts(COPY.replace(**field)) != keys.op_parts(COPY)


@pytest.mark.parametrize(
    ("op", "field"),
    [
        (HTTP, {"digest": "sha256:" + "1" * 64}),
        (HTTP, {"name": "g"}),
        (GIT, {"commit": "2" * 40}),
        (GIT, {"subdir": "/"}),
        (GIT, {"submodules": False}),
        (GIT, {"keep_git_dir": True}),
        (GIT.replace(keep_git_dir=True), {"url": "https://other/r.git"}),
        (GIT.replace(keep_git_dir=True), {"ref": "other"}),
        (COPY, {"items": (CopyPath("src", unpack=True), COPY.items[1])}),
    ],
)
def test_every_field_that_decides_a_source_is_in_its_key(op: Op, field: dict[str, object]) -> None:
    assert keys.op_parts(op.replace(**field)) != keys.op_parts(op)


@pytest.mark.parametrize(
    ("op", "field"),
    [
        (HTTP, {"url": "https://mirror/f"}),
        (GIT, {"url": "https://mirror/r.git"}),
        (GIT, {"ref": "v1", "checksum": "1111"}),
    ],
)
def test_where_a_source_comes_from_is_not(op: Op, field: dict[str, object]) -> None:
    assert keys.op_parts(op.replace(**field)) == keys.op_parts(op)
