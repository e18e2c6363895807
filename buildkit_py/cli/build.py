"""`pybuild build` and `pybuild FILE`: build targets, show the progress, say what came out."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Parsed

PROGRESS = ("auto", "tty", "plain", "json", "quiet")
# Those that docker has and that mean something here.
ENTITLEMENTS = ("security.insecure", "network.host")
ON_ERROR = ("shell", "keep", "fail")
COMPRESSIONS = ("zstd", "gzip", "uncompressed")

_OPTIONS = (
    Option(("-f", "--file"), "the Buildfile, `-` for standard input", "FILE", completes="file"),
    Option(("-t", "--tag"), "name the image", "NAME", many=True),
    Option(("--target",), "the target to build", "NAME"),
    Option(("--build-arg",), "set an ARG; NAME alone takes its value from the environment", "NAME=VALUE", many=True),
    Option(("--build-context",), "what FROM and --from=NAME mean by a name", "NAME=VALUE", many=True),
    Option(
        ("--secret",),
        "a secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE][,scan=false]",
        "SPEC",
        many=True,
    ),
    Option(("--no-secret-scan",), "do not look for secrets in what is built, nor mask them in logs"),
    Option(
        ("--ssh",), "an ssh agent for RUN --mount=type=ssh and git: default, ID[=SOCKET|=KEY[,…]]", "SPEC", many=True
    ),
    Option(("-o", "--output"), "write the result: a directory, or type=TYPE[,dest=PATH][,…]", "SPEC", many=True),
    Option(("--push",), "send the image to the registry of each of its names"),
    Option(("--no-test",), "push without waiting for the tests of what is pushed"),
    Option(("--load",), "does nothing: the image is in the local store in any case"),
    Option(("--iidfile",), "write the image's digest to a file", "FILE", completes="file"),
    Option(("--metadata-file",), "write what was built as JSON to a file", "FILE", completes="file"),
    Option(("--label",), "add a label to the image", "NAME=VALUE", many=True),
    Option(("--platform",), "the platform to build for", "OS/ARCH[/VARIANT]"),
    Option(("--pull",), "ask the registries for newer base images"),
    Option(("--locked",), "fail where pybuild.lock does not pin an image, a ref or a URL"),
    Option(("--offline",), "ask nobody elsewhere for anything; fail where something is not here"),
    Option(("--no-cache",), "use nothing that earlier builds left"),
    Option(("--no-cache-filter",), "use nothing that earlier builds left of a target", "TARGET", many=True),
    Option(
        ("--cache-from",),
        "use what a cache elsewhere has: type=local,src=DIR, type=registry,ref=NAME, type=http,url=URL, "
        "type=s3,bucket=NAME or type=gha",
        "SPEC",
        many=True,
    ),
    Option(
        ("--cache-to",),
        "write results to a cache: type=local,dest=DIR, type=registry,ref=NAME, type=http,url=URL, "
        "type=s3,bucket=NAME or type=gha; [,mode=…][,mounts=…]",
        "SPEC",
        many=True,
    ),
    Option(
        ("--cache-policy",),
        "what --cache-to sends to a server: all, or what takes less time to move than to make (default: worthwhile)",
        "POLICY",
        choices=("all", "worthwhile"),
    ),
    Option(("--cache-max",), "what the store may take of the disk, as in 20g", "SIZE"),
    Option(("--normalize",), "give files of a context that git tracks git's modes, whatever the umask was"),
    Option(("--network",), "the network of RUN steps", "NETWORK", choices=("default", "host", "none")),
    Option(("--allow",), "allow what is refused by default", "ENTITLEMENT", many=True, choices=ENTITLEMENTS),
    Option(("--add-host",), "add a line to the /etc/hosts of RUN steps", "NAME:ADDRESS", many=True),
    Option(("-j", "--jobs"), "how many steps may run at once (default: one for each core)", "N"),
    Option(
        ("--on-error",),
        "where a step fails: open a shell, keep its files for `pybuild shell` (the default), or not",
        "DO",
        choices=ON_ERROR,
    ),
    Option(("--keep-going",), "after a failure, go on with what does not depend on it"),
    Option(("-n", "--dry-run"), "run nothing, show what would run"),
    Option(("--list",), "show the targets and their parameters"),
    Option(("--call",), "build nothing; answer `check`, `outline` or `targets`, as in `outline,format=json`", "METHOD"),
    Option(("--check",), "the same as --call=check"),
    Option(("--provenance",), "`false` alone: no image here has an attestation", "VALUE", choices=("false",)),
    Option(("--sbom",), "`false` alone: no image here has an attestation", "VALUE", choices=("false",)),
    Option(("--compression",), "how new layers are compressed", "KIND", choices=COMPRESSIONS),
    Option(("--reproducible",), "let no time but SOURCE_DATE_EPOCH (else 0) into the result"),
    Option(("--max-size",), "end with 8 where an image takes more than that when it is pulled", "SIZE"),
    Option(("--max-growth",), "end with 8 where an image grew by more than that, as in 5m or 10%", "SIZE"),
    Option(
        ("--against",),
        "what --max-growth compares with (default: what the image's name stood for before)",
        "IMAGE",
        completes="image",
    ),
    Option(("--progress",), "how progress is shown", "KIND", choices=PROGRESS),
    Option(("-q", "--quiet"), "show no progress, print the image's digest alone"),
)


def parser(parameters: bool = False) -> Command:
    """The command's table; with `parameters` that of `pybuild FILE`, where a target's may be given."""
    return Command(
        "build",
        "build targets of a Buildfile, Buildfile.py or Dockerfile",
        (
            "pybuild FILE [TARGET…] [--parameter=value…] [options]",
            "pybuild build [options] CONTEXT",
        ),
        _OPTIONS,
        about=(
            "FILE is a Buildfile and its directory the context; CONTEXT is a directory, in which Buildfile.py, "
            "Buildfile and Dockerfile are looked for, an address of git (`https://host/repo.git#branch:dir`), a URL of "
            "a tar or a Buildfile, or `-` for one of these on standard input. Without a TARGET the "
            "default one is built. A parameter belongs to the target before it, one ahead of all targets to each of "
            "them. Progress is written to standard error."
        ),
        examples=(
            ("pybuild Buildfile.py app --python=3.13", "build the target `app` with a parameter"),
            ("pybuild build -t shop:dev .", "what `docker build` does"),
            ("pybuild . test -o out", "build the target `test` and write its filesystem to out/"),
        ),
        least=1,
        most=-1,
        parameters=parameters,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """`pybuild build`: here an unknown option is an error, whatever it is."""
    return _build(parse(parser(), argv))


def build_file(argv: list[str]) -> int:
    """`pybuild FILE`: here an unknown `--name=value` is a parameter of a target."""
    return _build(parse(parser(parameters=True), argv))


def _build(parsed: Parsed) -> int:
    from buildkit_py.cli.build_request import build_request, jobs_directory

    if parsed.has("list"):
        from buildkit_py.cli.listing import print_targets

        return print_targets(parsed)
    if parsed.has("check") or parsed.one("call"):
        from buildkit_py.cli.call import call, method

        if name := method(parsed):
            return call(parsed, name)
    from buildkit_py.api.build import build
    from buildkit_py.api.witness import Witness
    from buildkit_py.cli import first_tier
    from buildkit_py.cli.locate import candidates, here
    from buildkit_py.cli.progress import kind_of, shown
    from buildkit_py.cli.remember import answer, remember

    cwd = here()
    memo = first_tier.memo_path(sys.argv[1:])
    witness = Witness()
    request = build_request(parsed, os.environ, cwd)
    for looked_for in candidates(parsed.operands[0], parsed.one("file"), cwd):
        witness.file(looked_for)
    kind = kind_of(parsed)
    result = shown(kind, lambda emit: build(request, emit, witness))
    if request.dry_run:
        from buildkit_py.cli.listing import print_plan

        print_plan(result)
        return 0
    if kind == "quiet":
        sys.stdout.write(answer(request, result))
    witness.file(jobs_directory(os.environ))  # an answer from the memo would not tell a job that begins of it
    remember(memo, request, witness, kind, result)
    return 0
