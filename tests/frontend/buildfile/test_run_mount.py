"""The CSV line of `RUN --mount`."""

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.run_mount import RunMount, mount_origin, parse_mount
from buildkit_py.source_map import Position

AT = Position("Buildfile", 2, 5)


def parse(text):
    return parse_mount(text, lambda word: word.replace("$V", "v"), AT)


GOOD = [
    ("target=/t", RunMount(target="/t")),
    ("TYPE=Bind,DST=/t,SRC=a,FROM=x,RW", RunMount(target="/t", source="a", origin="x", read_only=False)),
    ("destination=/t,readonly=false", RunMount(target="/t", read_only=False)),
    ("target=/t,rw=0", RunMount(target="/t")),
    ('"target=/a,b",source=c', RunMount(target="/a,b", source="c")),
    ('"target=/a ""q"""', RunMount(target='/a "q"')),
    ("type=cache,target=/$V", RunMount("cache", target="/v", read_only=False)),
    ("type=cache,target=/t,key=go.sum", RunMount("cache", target="/t", read_only=False, keys=("go.sum",))),
    ("type=cache,target=/t,key=$V,KEY=b/*", RunMount("cache", target="/t", read_only=False, keys=("v", "b/*"))),
    ("type=tmpfs,target=/t,size=100b", RunMount("tmpfs", target="/t", read_only=False, size=100)),
    ("type=tmpfs,target=/t,size=1.5g", RunMount("tmpfs", target="/t", read_only=False, size=3 << 29)),
    ("type=tmpfs,target=/t,size=64MiB", RunMount("tmpfs", target="/t", read_only=False, size=64 << 20)),
    ("type=tmpfs,target=/t,size=2kb", RunMount("tmpfs", target="/t", read_only=False, size=2048)),
    ("type=secret,id=x,required=true", RunMount("secret", id="x", required=True)),
    ("type=ssh", RunMount("ssh")),
    # BuildKit passes over these, and so do we.
    ("source=a", RunMount("bind", source="a")),
    ("target=/t,id=x", RunMount("bind", target="/t", id="x")),
    ("type=tmpfs,from=a,id=c", RunMount("tmpfs", "a", read_only=False, id="c")),
    ("type=ssh,from=a", RunMount("ssh", "a")),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_mounts(text, expected):
    assert parse(text) == expected


BAD = [
    ("type=bindd,target=/t", "unknown mount type `bindd`"),
    ("targe=/t", "unknown key `targe`"),
    ("whatever,target=/t", "unknown key `whatever`"),
    ("target", "needs a value"),
    ("target=/t,ro=maybe", "neither true nor false"),
    ("target=/t,mode=0755", "takes no `mode`"),
    ("target=/t,uid=1", "takes no `uid`"),
    ("type=tmpfs,target=/t,mode=0700", "takes no `mode`"),
    ("type=tmpfs,target=/t,sharing=locked", "takes no `sharing`"),
    ("type=tmpfs,source=/a", "takes no `source`"),
    ("type=ssh,source=/a", "takes no `source`"),
    ("target=/t,key=x", "type bind takes no `key`"),
    ("type=secret,id=x,key=x", "type secret takes no `key`"),
    ("type=cache,target=/t,key=", "names no file"),
    ("type=cache,target=/t,key", "needs a value"),
    ("type=bind,target=/t,required", "takes no `required`"),
    ("type=cache,target=/t,sharing=some", "unknown sharing `some`"),
    ("type=cache,target=/t,mode=9", "not an octal number"),
    ("type=cache,target=/t,uid=-1", "not a number"),
    ("type=cache,target=/t,size=1", "takes no `size`"),
    ("type=tmpfs,target=/t,size=lots", "not a size"),
    ("type=tmpfs,target=/t,size=٣", "not a size"),
    ("type=secret", "needs an `id` or a `target`"),
    ("type=secret,id=a,source=b", "the same thing"),
    ("type=secret,id=a,from=b", "takes no `from`"),
    ('"target=/t', "no closing"),
    ('"target=/t"x', "after the closing"),
    ('target="/t"', "inside a field"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
@pytest.mark.attack("S8")
def test_what_is_no_mount(text, message):
    with pytest.raises(BuildfileError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.at == AT


def test_mistyped_keys_are_guessed():
    with pytest.raises(BuildfileError) as caught:
        parse("targe=/t")
    assert caught.value.hint == "did you mean `target`?"


def test_the_origin_is_known_before_anything_expands():
    assert mount_origin("target=/t,from=tools", AT) == "tools"
    assert mount_origin("type=cache,target=/$V,from=tools", AT) == "tools"
    assert mount_origin("type=secret,id=a", AT) == ""
    with pytest.raises(BuildfileError, match="not expanded"):
        mount_origin("target=/t,from=$V", AT)
