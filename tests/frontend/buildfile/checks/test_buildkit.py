"""BuildKit's rules: conditions, texts and lines are those of its own linter."""

from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from tests.frontend.buildfile.checks.checking import check, messages, rules

# What BuildKit prints of each: the text behind the rule's name, and the line in brackets.
CASES: list[tuple[str, list[str]]] = [
    # casing
    ("ARG N=x\nFROM scratch AS app-$N\n", []),
    ("FROM scratch AS BadName\n", ["StageNameCasing: Stage name 'BadName' should be lowercase (line 1)"]),
    ("FROM scratch as a\n", ["FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"]),
    ("from scratch AS a\nfrom a as b\n", ["FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 1)"]),
    (
        "From scratch as a\nFROM scratch AS b\n",
        [
            "ConsistentInstructionCasing: Command 'From' should match the case of the command majority "
            "(uppercase) (line 1)"
        ],
    ),
    (
        "FROM scratch\ncopy a /b\nCOPY a /c\n",
        [
            "ConsistentInstructionCasing: Command 'copy' should match the case of the command majority "
            "(uppercase) (line 2)"
        ],
    ),
    (
        "from scratch\nCOPY a /b\ncopy a /c\n",
        [
            "ConsistentInstructionCasing: Command 'COPY' should match the case of the command majority "
            "(lowercase) (line 2)"
        ],
    ),
    ("arg A=scratch\nFROM $A\nCOPY a /b\n", []),
    ("from scratch\ncopy a /b\n", []),
    ("FROM known:1\nRUN <<'EOT'\nenv\nEOT\n", []),
    # form
    ("FROM scratch\nCOPY a \\\n\n.\nCOPY b \\\n.\n", ["NoEmptyContinuation: Empty continuation line (line 4)"]),
    (
        "FROM scratch\nMAINTAINER me\n",
        ["MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)"],
    ),
    (
        "FROM scratch\nCMD run\n",
        [
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS "
            "signals (line 2)"
        ],
    ),
    (
        "FROM scratch\nENTRYPOINT run\n",
        [
            "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to "
            "OS signals (line 2)"
        ],
    ),
    ('FROM scratch\nSHELL ["/bin/sh"]\nCMD run\n', []),
    ('FROM scratch AS a\nSHELL ["/bin/sh"]\nFROM a\nENTRYPOINT run\n', []),
    ("FROM shelled:1\nCMD run\n", []),
    (
        "FROM scratch\nENV a b c\nLABEL d e\n",
        [
            f'LegacyKeyValueFormat: "{name} key=value" should be used instead of legacy "{name} key value" format '
            f"(line {n})"
            for name, n in (("ENV", 2), ("LABEL", 3))
        ],
    ),
    ("FROM scratch\nENV a=b\nLABEL d=e\n", []),
    (
        'FROM scratch\nENTRYPOINT ["a"]\nCMD ["a"]\nHEALTHCHECK CMD ["a"]\n'
        'ENTRYPOINT ["b"]\nCMD ["b"]\nHEALTHCHECK NONE\n',
        [
            f"MultipleInstructionsDisallowed: Multiple {name} instructions should not be used in the same stage "
            f"because only the last one will be used (line {line})"
            for name, line in (("ENTRYPOINT", 2), ("CMD", 3), ("HEALTHCHECK", 4))
        ],
    ),
    ('FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n', []),
    # names
    (
        "FROM scratch AS b\nFROM scratch AS b\n",
        ['DuplicateStageName: Duplicate stage name "b", stage names should be unique (line 2)'],
    ),
    (
        "FROM scratch AS scratch\nFROM scratch AS context\n",
        [
            f'ReservedStageName: Stage name should not use the same name as reserved stage "{name}" (line {line})'
            for name, line in (("scratch", 1), ("context", 2))
        ],
    ),
    ("FROM scratch\nFROM scratch AS a\n", []),
    # variables of FROM
    ("ARG base=scratch\nFROM $base\n", []),
    ("FROM --platform=$BUILDPLATFORM scratch\n", []),
    ("ARG DEBUG\nFROM scratch${DEBUG}\n", []),
    ("ARG DEBUG\nFROM scra${DEBUG:-tch}\n", []),
    ('ARG DEBUG=""\nFROM scratch${DEBUG-@bogus}\n', []),
    (
        "FROM --platform=$BULIDPLATFORM scratch\n",
        ["UndefinedArgInFrom: FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?) (line 1)"],
    ),
    (
        "ARG MY_OS=linux\nARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH} known:1\n",
        ["UndefinedArgInFrom: FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?) (line 3)"],
    ),
    (
        "ARG tag=1\nFROM known:${tag}${version} AS b\n",
        ["UndefinedArgInFrom: FROM argument 'version' is not declared (line 2)"],
    ),
    (
        "ARG VERSION\nFROM known:$VERSION\n",
        [
            "InvalidDefaultArgInFrom: Default value for ARG known:$VERSION results in empty or invalid base image name "
            "(line 2)"
        ],
    ),
    (
        "ARG IMAGE\nFROM $IMAGE\n",
        ["InvalidDefaultArgInFrom: Default value for ARG $IMAGE results in empty or invalid base image name (line 2)"],
    ),
    (
        'ARG SFX="box:"\nFROM busy${SFX}\n',
        [
            "InvalidDefaultArgInFrom: Default value for ARG busy${SFX} results in empty or invalid base image name "
            "(line 2)"
        ],
    ),
    ('ARG VERSION="latest"\nFROM known:${VERSION}\n', []),
    ("ARG VARIANT\nFROM known:1${VARIANT}\n", []),
    # variables
    ("FROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n", []),
    ("FROM known:1 AS base\nARG foo=Dockerfile\nFROM base\nCOPY $foo .\n", []),
    ('FROM known:1\nRUN echo $NOPE\nCMD ["$NOPE"]\n', []),
    (
        "FROM known:1\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n",
        ["UndefinedVar: Usage of undefined variable '$foo' (line 2)"],
    ),
    (
        "FROM known:1\nARG DIR_BINARIES=b/\nARG DIR_ASSETS=a/\nCOPY $DIR_ASSET .\n",
        ["UndefinedVar: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?) (line 4)"],
    ),
    (
        "FROM known:1\nENV PATH=$PAHT:/tmp/bin\n",
        ["UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?) (line 2)"],
    ),
    ("FROM known:1\nWORKDIR $HOME_DIR\n", []),
    ("FROM another:1\nWORKDIR $HOME_DIR/x\n", []),
    # secrets
    (
        "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\n"
        "ARG super_duper_secret_token=foo auth=bar\nENV apikey=bar sunflower=foo\nENV git_key=\nENV PUBLIC_KEY=\n"
        "ARG public_token KEY_FILE TOKEN_VERSION\n",
        [
            f'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data ({name}") (line {line})'
            for name, line in (
                ('ARG "SECRET_PASSPHRASE', 2),
                ('ENV "SUPER_Secret', 3),
                ('ENV "password', 4),
                ('ENV "secret', 4),
                ('ARG "super_duper_secret_token', 5),
                ('ARG "auth', 5),
                ('ENV "apikey', 6),
                ('ENV "git_key', 7),
            )
        ],
    ),
    # platforms
    (
        "FROM --platform=$TARGETPLATFORM scratch\n",
        [
            "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is "
            "the default behavior (line 1)"
        ],
    ),
    (
        "FROM --platform=${TARGETPLATFORM} scratch\n",
        [
            "RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is "
            "the default behavior (line 1)"
        ],
    ),
    (
        "FROM --platform=linux/amd64 scratch\n",
        ['FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/amd64" (line 1)'],
    ),
    ("FROM --platform=linux/amd64 scratch AS my_amd64_stage\n", []),
    ("FROM --platform=linux/amd64 scratch AS linux\n", []),
    (
        "ARG A=linux/arm64\nFROM --platform=$A only-amd64:1\n",
        [
            'InvalidBaseImagePlatform: Base image only-amd64:1 was pulled with platform "linux/amd64", expected '
            '"linux/arm64" for current build (line 2)'
        ],
    ),
    # paths and ports
    (
        "FROM scratch\nWORKDIR app/\n",
        ['WorkdirRelativePath: Relative workdir "app/" can have unexpected results if the base image changes (line 2)'],
    ),
    ("FROM scratch AS a\nWORKDIR /app\nFROM a AS b\nWORKDIR subdir/\n", []),
    (
        "FROM scratch\nEXPOSE 80/TcP\n",
        ["ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase (line 2)"],
    ),
    (
        "FROM scratch\nEXPOSE 127.0.0.1:80:80 5000-5001:5000-5001\n",
        [
            "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found "
            f"'{port}' (line 2)"
            for port in ("127.0.0.1:80:80", "5000-5001:5000-5001")
        ],
    ),
    (
        "FROM scratch\nENV P='1/TCP 2'\nEXPOSE $P 3/udp\n",
        ["ExposeProtoCasing: Defined protocol '1/TCP' in EXPOSE instruction should be lowercase (line 3)"],
    ),
    # triggers of a base: shown at the FROM
    (
        "FROM trigger:1\n",
        [
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS "
            "signals (line 1)",
            "UndefinedVar: Usage of undefined variable '$NOPE' (line 1)",
        ],
    ),
    ("FROM scratch\nONBUILD CMD x\nONBUILD COPY $NOPE /\n", []),
]


@pytest.mark.parametrize(("text", "wanted"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_what_buildkit_prints(text: str, wanted: list[str]) -> None:
    assert messages(text) == wanted


def test_build_args_do_not_hide_a_default_that_leads_nowhere() -> None:
    text = "ARG VERSION\nFROM known:$VERSION\n"
    assert rules(text, VERSION="1") == [("InvalidDefaultArgInFrom", 2)]
    assert rules("ARG VERSION=1\nFROM known:$VERSION\n", VERSION="") == []


DESCRIPTIONS = """\
# check=experimental=InvalidDefinitionDescription
# bar this is the bar
ARG foo=bar
# BasE this is the BasE image
FROM scratch AS base
# definitely a bad comment
ARG version=latest
# baz this is the baz
ARG foo=baz bar=qux baz=quux
# definitely a bad comment
ARG foo=baz bar=qux baz=quux
# anything
#
ARG bit=bat

# comment for something else
COPY a .
# base this is it
FROM scratch AS base
# anything, for it has no name
FROM scratch
"""


def test_descriptions() -> None:
    found = [text for text in messages(DESCRIPTIONS) if text.startswith("InvalidDef")]
    assert found == [
        f"InvalidDefinitionDescription: Comment for {keyword} should follow the format: `# {name} <description>` "
        f"(line {n})"
        for keyword, name, n in (
            ("ARG", "foo", 3),
            ("FROM", "base", 5),
            ("ARG", "version", 7),
            ("ARG", "<arg_key>", 11),
        )
    ]


def test_ignored_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    ignore = tmp_path / ".dockerignore"
    ignore.write_text("Dockerfile\nsub\n")
    text = "FROM scratch AS a\nCOPY Dockerfile ./sub/x y /\nADD Dockerfile https://e.org/Dockerfile /w\nFROM a\n"
    text += "COPY --from=a Dockerfile /Dockerfile\nCOPY /sub <<sub /\nsub\n"
    wanted = [
        f'CopyIgnoredFile: Attempting to {verb} file "{name}" that is excluded by .dockerignore (line {line})'
        for verb, name, line in (("Copy", "Dockerfile", 2), ("Copy", "sub/x", 2), ("Add", "Dockerfile", 3))
    ]
    assert [one for one in messages(text, context=str(tmp_path)) if "ADD" not in one][:3] == wanted
    ignore.write_text("Dockerfile\n!sub\n")
    assert messages("FROM scratch\nCOPY Dockerfile /\n", context=str(tmp_path)) == []


def test_only_what_is_built_is_looked_into_but_all_of_the_heads() -> None:
    text = "FROM scratch AS a\nENV x y\nFROM scratch as b\nENV x y\nFROM scratch\nENV z=1\n"
    assert rules(text) == [("LegacyKeyValueFormat", 2), ("FromAsCasing", 3), ("LegacyKeyValueFormat", 4)]
    assert rules(text, target="b") == [("FromAsCasing", 3), ("LegacyKeyValueFormat", 4)]


def test_warnings_come_before_an_error() -> None:
    assert rules("FROM scratch AS Bad\nMAINTAINER me\nEXPOSE x\n") == [
        ("StageNameCasing", 1),
        ("MaintainerDeprecated", 2),
    ]


# Settings

ODD = "FROM scratch as base\ncopy a .\n"
BOTH = ["FromAsCasing", "ConsistentInstructionCasing"]


@pytest.mark.parametrize(
    ("head", "given", "wanted"),
    [
        ("", None, BOTH),
        ("#check=skip=all\n", None, []),
        ("# check = skip=all;error=true\n", None, []),
        ("# check=skip=ConsistentInstructionCasing,FromAsCasing\n", None, []),
        ("# check=skip=ConsistentInstructionCasing , X\n", None, BOTH[:1]),
        ("# check=skip=fromascasing\n", None, BOTH),
        ("# check=skip=all\n", "skip=FromAsCasing", BOTH[1:]),
        ("# check=error=true\n", "skip=all", []),
        ("# syntax=x\n# check=skip=FromAsCasing\n", None, BOTH[1:]),
        ("# a comment\n# check=skip=ConsistentInstructionCasing\n", None, BOTH),
        ("\n# why not\n# check=skip=FromAsCasing\n", None, BOTH[1:]),
        ("\n# check=skip=FromAsCasing\n\n", None, BOTH),
        ("\n# check=skip=FromAsCasing\n#\n", None, BOTH),
        ("\n# check=skip=all\n# and more\n", None, BOTH[1:]),
        ("\n# check=nonsense\n", None, BOTH),
    ],
)
def test_what_is_turned_off(head: str, given: str | None, wanted: list[str]) -> None:
    args = {} if given is None else {"BUILDKIT_DOCKERFILE_CHECK": given}
    assert [rule for rule, _ in rules(head + ODD, **args)] == wanted


def test_a_comment_is_for_its_instruction_alone() -> None:
    text = "FROM scratch\n# check=skip=LegacyKeyValueFormat\nENV a b\nENV c d\n"
    assert rules(text) == [("LegacyKeyValueFormat", 4)]


def test_a_comment_may_ask_for_more() -> None:
    text = "FROM scratch\n# a bad one\n# check=experimental=all\nARG x\n# a bad one\nARG y\n"
    assert rules(text) == [("InvalidDefinitionDescription", 4)]
    text = "# check=skip=all;experimental=InvalidDefinitionDescription,UnusedArg\nFROM scratch as a\n# bad\nARG x\n"
    assert rules(text) == [("InvalidDefinitionDescription", 4), ("UnusedArg", 4)]


def test_ours_are_off_unless_named() -> None:
    text = "FROM scratch\nARG x\n"
    assert rules(text) == []
    assert rules("# check=experimental=all\n" + text) == []
    assert rules("# check=experimental=UnusedArg\n" + text) == [("UnusedArg", 3)]
    assert rules(text, own=True) == [("UnusedArg", 2)]
    assert rules("# check=skip=UnusedArg\n" + text, own=True) == []


def test_a_build_arg_that_says_nothing() -> None:
    with pytest.raises(UsageError, match="unknown key `skp`"):
        check("FROM scratch\n", BUILDKIT_DOCKERFILE_CHECK="skp=all")


# Places


@pytest.mark.parametrize(
    ("text", "line", "column", "width"),
    [
        ("FROM scratch as a\n", 1, 14, 2),
        ("FROM scratch AS Ab\n", 1, 17, 2),
        ("FROM scratch\nCOPY a \\\n  $NOPE/x /\n", 3, 3, 0),
        ("FROM scratch\nENV A=1 \\\n  TOKEN=x\n", 3, 3, 5),
        ("FROM scratch\nEXPOSE 1 \\\n 2/UDP\n", 3, 2, 5),
        ("FROM scratch\nRUN x \\\n\n  y\n", 3, 1, 0),
    ],
)
def test_places_are_exact(text: str, line: int, column: int, width: int) -> None:
    (finding,) = check(text)
    assert (finding.position.line, finding.position.column, finding.width) == (line, column, width)
