"""Our rules, beyond the examples of their pages: what they tell and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.frontend.buildfile.checks.secrets import is_secret
from buildkit_py.frontend.buildfile.checks.shell import commands
from tests.frontend.buildfile.checks.checking import check, rules


def found(text: str, **options: object) -> list[tuple[str, int]]:
    return rules(text, own=True, **options)


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("a b && c;d|e", [["a", "b"], ["c"], ["d"], ["e"]]),
        ("A=1 B='x y' sudo -E apt-get \\\n  update", [["apt-get", "update"]]),
        ("if [ -f x ]; then apt update; fi", [["[", "-f", "x", "]"], ["apt", "update"], ["fi"]]),
        ('echo \'a && b\' "c ; \\" d" e\\ f', [["echo", "a && b", 'c ; \\" d', "e f"]]),
        ("# nothing\na # b && c\nd", [["a"], ["d"]]),
        ("(cd /x && make)", [["cd", "/x"], ["make"]]),
        ("a=1", []),
        ("echo 'open", [["echo", "open"]]),
        ("", []),
    ],
)
def test_commands_of_a_script(script: str, wanted: list[list[str]]) -> None:
    assert commands(script) == wanted


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        ("apt-get update", ["AptUpdateAlone"]),
        ("apt-get -q update -y", ["AptUpdateAlone"]),
        ("<<E\nset -e\napt-get update\nE", ["AptUpdateAlone"]),
        ('["apt-get", "update"]', ["AptUpdateAlone"]),
        ('["/bin/sh", "-c", "apt-get update"]', ["AptUpdateAlone"]),
        ("apt-get update && apt-get upgrade -y", []),
        ("apt-get update && apt-get install -y x", ["PackageCacheKept"]),
        ("apt-get install -y x && apt-get clean && rm -rf /var/lib/apt/lists/*", []),
        ("--mount=type=cache,target=/var/cache/apt apt-get install -y x", []),
        ("--mount=type=tmpfs,target=/var/lib/apt/lists apt-get install -y x", []),
        ("--mount=type=bind,target=/var/cache/apt apt-get install -y x", ["PackageCacheKept"]),
        ("apk add curl", ["PackageCacheKept"]),
        ("apk add --no-cache curl", []),
        ("apk add --no-cache curl && apk add git", ["PackageCacheKept"]),
        ("dnf -y install x && dnf clean all", []),
        ("microdnf install x", ["PackageCacheKept"]),
        ("zypper -n in x && zypper clean -a", []),
        ("pip install x", ["PackageCacheKept"]),
        ("python3 -m pip install x", ["PackageCacheKept"]),
        ("pip install --no-cache-dir x", []),
        ("--mount=type=cache,dst=/home/me/.cache/pip pip install x", []),
        ("npm ci", ["PackageCacheKept"]),
        ("npm ci && npm cache clean --force", []),
        ("npm run build", []),
        ("echo apt-get install", []),
        ("yarn", ["PackageCacheKept"]),
        ("yarn --frozen-lockfile && yarn cache clean", []),
        ("yarn build", []),
        ("pnpm install --frozen-lockfile", ["PackageCacheKept"]),
        ("--mount=type=cache,target=/pnpm/store pnpm install", []),
        ("uv sync --frozen", ["PackageCacheKept"]),
        ("uv pip install --no-cache x", []),
        ("uv run x", []),
        ("poetry install --only=main", ["PackageCacheKept"]),
        ("--mount=type=cache,target=/root/.cache poetry install", []),
        ("composer install --no-dev", ["PackageCacheKept"]),
        ("composer install && composer clear-cache", []),
        ("mamba install -y numpy", ["PackageCacheKept"]),
        ("conda create -n x python && conda clean -afy", []),
    ],
)
def test_packages(run: str, wanted: list[str]) -> None:
    assert [rule for rule, _ in found(f"FROM scratch\nRUN {run}\n")] == wanted


def test_a_variable_turns_pips_cache_off() -> None:
    assert found("FROM scratch\nENV PIP_NO_CACHE_DIR=1\nRUN pip install x\n") == []


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("COPY . /app\nRUN npm ci --cache=x && npm cache clean", True),
        ("COPY . /app\nRUN cd /app && go mod download", True),
        ("ADD ./ /app\nRUN pip install --no-cache-dir -r requirements.txt", True),
        ("COPY . /app\nRUN pip install --no-cache-dir /app", False),
        ("COPY . /app\nRUN yarn && yarn cache clean", True),
        ("COPY . /app\nRUN yarn --frozen-lockfile && yarn cache clean", True),
        ("COPY . /app\nRUN yarn build", False),
        ("COPY src /app\nRUN go mod download", False),
        ("COPY --from=x:1 . /app\nRUN go mod download", False),
        ("RUN go mod download\nCOPY . /app", False),
        ("COPY . /app\nRUN make", False),
    ],
)
def test_the_whole_context_before_dependencies(body: str, wanted: bool) -> None:
    assert ("CopyBeforeInstall" in [rule for rule, _ in found(f"FROM scratch\n{body}\n")]) is wanted


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("debian", True),
        ("debian:latest", True),
        ("localhost:5000/team/app", True),
        ("debian:13", False),
        ("debian@sha256:" + "0" * 64, False),
        ("scratch", False),
        ("oci-layout://base", False),
        ("before", False),
    ],
)
def test_pinned_images(image: str, wanted: bool) -> None:
    text = f"# before is for others\nFROM scratch AS before\nFROM {image}\n"
    assert ([rule for rule, _ in found(text)] == ["UnpinnedBaseImage"]) is wanted


def test_stages() -> None:
    text = "FROM scratch AS a\nFROM a AS b\nFROM scratch\nFROM scratch AS d\nCOPY --from=0 / /\nCOPY --from=2 / /\n"
    assert found(text) == [("UnusedStage", 2)]
    text = "FROM scratch\nFROM scratch AS a\nFROM scratch AS a\nFROM scratch\n"
    assert found(text) == [
        ("UnreachableTarget", 1),
        ("UnreachableTarget", 2),
        ("DuplicateStageName", 3),
        ("UnusedStage", 3),
    ]
    assert found("FROM scratch\n") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ARG A\nFROM scratch\n", ["A"]),
        ("ARG A=scratch\nFROM $A\n", []),
        ("ARG A=1\nARG B=$A\nFROM scratch\nARG B\nRUN echo $B\n", []),
        ("FROM scratch\nARG A B=$A\nRUN <<E\necho ${B}\nE\n", []),
        ("FROM scratch\nRUN echo $A\nARG A\n", ["A"]),
        ("FROM scratch\nARG A\nRUN echo $AB $B_A\n", ["A"]),
        ("FROM scratch AS x\nARG A\nFROM x\nENV B=$A\n", []),
        ("FROM scratch\nARG DEBIAN_FRONTEND=noninteractive http_proxy PIP_INDEX_URL\nRUN x\n", []),
        ("FROM scratch\nARG TARGETPLATFORM BUILDARCH TARGET\nRUN xx-apk add gcc && xx-clang a.c\n", ["TARGET"]),
    ],
)
def test_unused_args(text: str, wanted: list[str]) -> None:
    assert [one.message.split("`")[1] for one in check(text, own=True) if one.rule == "UnusedArg"] == wanted


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("ARG A=1\nENV A=2", [3]),
        ("ARG A=1\nENV A=$A-x", []),
        ("ARG A=1\nENV A=${A:-2}", []),
        ("ENV A=1\nARG A=2", [3]),
        ("ENV A=1\nARG A", []),
        ("ENV A=1\nENV A=2", []),
    ],
)
def test_shadowed(body: str, lines: list[int]) -> None:
    text = f"FROM scratch\n{body}\nRUN echo $A\n"
    assert found(text) == [("ShadowedEnv", line) for line in lines]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (".env", True),
        ("a/.env.production", True),
        (".env.example", False),
        ("id_ed25519", True),
        ("id_ed25519.pub", False),
        ("tls/server.key", True),
        ("keys", False),
        ("environment", False),
    ],
)
@pytest.mark.attack("H4")
def test_names_of_secrets(name: str, wanted: bool) -> None:
    assert is_secret(name) is wanted


@pytest.mark.attack("H5")
def test_secrets_in_directories(tmp_path: Path) -> None:
    (tmp_path / "app" / "conf").mkdir(parents=True)
    (tmp_path / "app" / "conf" / "server.pem").touch()
    text = "FROM scratch\nCOPY app /app\n"
    (finding,) = check(text, own=True, context=str(tmp_path))
    assert (finding.rule, finding.position.column) == ("SecretCopied", 6)
    assert "`app/conf/server.pem`" in finding.message
    assert found("FROM scratch\nCOPY app/../../app/ /app\n", context=str(tmp_path)) == [("SecretCopied", 2)]
    assert found("FROM scratch\nADD https://e.org/x.pem /\n", context=str(tmp_path)) == []
    assert found("FROM scratch AS a\nFROM a\nCOPY --from=a x.pem /\n", context=str(tmp_path)) == []
    for flags, source, there in (
        ("--exclude=conf", "app", False),
        ("--exclude=**/*.pem", "app", False),
        ("--exclude=conf/x --exclude=*.pem", "app", True),
        ("--exclude=*.pem", "app/conf/server.pem", False),
        ("--exclude=*.key", "app/conf/server.pem", True),
    ):
        one = f"FROM scratch\nCOPY {flags} {source} /app\n"
        assert found(one, context=str(tmp_path)) == [("SecretCopied", 2)] * there, one
    (tmp_path / ".dockerignore").write_text("app/conf\n")
    assert found(text, context=str(tmp_path)) == []


def test_a_word_that_does_not_expand_ends_the_rules_that_meet_it_and_no_other() -> None:
    assert found("FROM scratch\nRUN pip install x\nCOPY il'e /\n") == [("PackageCacheKept", 2)]


def test_services_that_no_step_asks_for() -> None:
    service = "SERVICE db FROM unknown:1\n"
    stage = "FROM busybox:1 AS app\nRUN true\n"
    assert found(service + stage) == [("UnusedService", 1)]
    assert found(f"# db is for others\n{service}{stage}") == []
    assert found(f"{service}{stage}TEST --with=web,DB true\nSERVICE web FROM unknown:1") == []
    assert found(f"{service}{stage}ONBUILD RUN --with=db true") == []
    assert found(f"{service}FROM busybox:1\nFOR x IN db\nRUN --with=$x true\nEND") == []


def test_a_stage_that_a_service_starts_from_is_used() -> None:
    text = 'SERVICE web FROM app\nFROM busybox:1 AS app\nCMD ["serve"]\nFROM busybox:1\nTEST --with=web true'
    assert found(text) == []


def test_an_arg_of_a_service_is_used() -> None:
    assert found("ARG V=1\nSERVICE db FROM unknown:$V\nFROM busybox:1\nRUN --with=db true") == []
