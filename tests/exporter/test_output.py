from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.exporter.output import Output, check, parse_output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output("local", "out")),
        ("a dir/out.tar", Output("local", "a dir/out.tar")),
        ("-", Output("tar", "-")),
        ("type=local,dest=out", Output("local", "out")),
        ("type=tar,dest=-", Output("tar", "-")),
        ("type=cacheonly", Output("cacheonly")),
        ('"type=tar","dest=a,b"', Output("tar", "a,b")),
        (
            "type=oci,dest=x.tar,compression=zstd,compression-level=19",
            Output(
                "oci",
                "x.tar",
                attributes=(("compression", "zstd"), ("compression-level", "19")),
                compression="zstd",
                level=19,
            ),
        ),
        (
            "type=docker,dest=x,tar=false,oci-mediatypes=false,force-compression=1,name=app:1",
            Output(
                "docker",
                "x",
                attributes=(
                    ("tar", "false"),
                    ("oci-mediatypes", "false"),
                    ("force-compression", "1"),
                    ("name", "app:1"),
                ),
                names=("docker.io/library/app:1",),
                force=True,
                docker_types=True,
                directory=True,
            ),
        ),
        (
            'type=image,"name=h.example/a:1,h.example/b",push=true',
            Output(
                "registry",
                attributes=(("name", "h.example/a:1,h.example/b"), ("push", "true")),
                names=("h.example/a:1", "h.example/b:latest"),
            ),
        ),
        ("type=registry", Output("registry")),
    ],
)
def test_outputs(text: str, expected: Output) -> None:
    found = parse_output(text)
    assert found == expected
    assert check(found.kind, found.dest, found.attributes) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "the output is empty", ""),
        ("type=oic,dest=x", "no output type `oic`", "did you mean `oci`?"),
        ("type=oci", "needs `dest=`", ""),
        ("type=docker", "needs `dest=`", "no daemon"),
        ("type=local", "needs `dest=`", ""),
        ("type=oci,dest=x,compresion=gzip", "no attribute `compresion`", "did you mean `compression`?"),
        ("type=local,dest=x,name=y", "no attribute `name`", "known are"),
        ("type=oci,dest=x,compression=gzp", "no compression `gzp`", "did you mean `gzip`?"),
        ("type=oci,dest=x,compression=gzip,compression-level=10", "not a level of gzip", ""),
        ("type=oci,dest=x,compression-level=fast", "not a level", ""),
        ("type=oci,dest=x,tar=maybe", "neither true nor false", ""),
        ("type=oci,dest=-,tar=false", "cannot go to standard output", ""),
        ("type=local,dest=-", "cannot go to standard output", "-o -"),
        ("/", "not written over this machine's own", "--keep-directory-symlink"),
        ("type=local,dest=/tmp/..", "not written over this machine's own", "name a directory"),
        ("type=oci,dest=x,tar", "is not NAME=VALUE", ""),
        ("type=oci,type=tar,dest=x", "needs one `type=`", ""),
        ("dest=x", "needs one `type=`", "the types are"),
        ("type=oci,dest=x,tar=true,tar=false", "given twice", ""),
        ("type=local,dest=x,mode=delete", "`mode=delete`", "copy"),
        ("type=oci,dest=x,name=UP", "not an image name", "write `up`"),
        ("type=oci,dest=x,oci-mediatypes=false,compression=zstd", "know no zstd", ""),
        ("type=registry,push=false", "always pushes", "type=image"),
        ("type=cacheonly,dest=x", "no attribute `dest`", ""),
        ('type=oci,"dest=x', "cannot be read", ""),
    ],
)
def test_mistakes_are_named(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_output(text)
    assert hint in caught.value.hint
