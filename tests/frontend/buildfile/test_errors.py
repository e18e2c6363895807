"""Broken Buildfiles and what is said about them: the message, the place, the line, what to do."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile.parse import parse_text

BROKEN = [
    (
        "FORM x",
        [
            "Buildfile:1:1: unknown instruction `FORM`",
            "  FORM x",
            "  ^^^^",
            "hint: did you mean `FROM`?",
        ],
    ),
    (
        "FROM",
        [
            "Buildfile:1:5: FROM expects an image, but the line ends",
            "  FROM",
            "      ^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "FROM a b",
        [
            "Buildfile:1:8: FROM expects `AS` or the end of the line, not `b`",
            "  FROM a b",
            "         ^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "FROM a --platform=x",
        [
            "Buildfile:1:8: FROM expects `AS` or the end of the line, not `--platform=x`",
            "  FROM a --platform=x",
            "         ^^^^^^^^^^^^",
            "hint: flags stand right behind FROM",
        ],
    ),
    (
        "ENV a=b --x",
        [
            "Buildfile:1:9: ENV expects `NAME=VALUE` or the end of the line, not `--x`",
            "  ENV a=b --x",
            "          ^^^",
            "hint: quote a value that holds spaces",
        ],
    ),
    (
        "FROM a as",
        [
            "Buildfile:1:10: FROM expects a stage name, but the line ends",
            "  FROM a as",
            "           ^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "FROM a AS 1x",
        [
            "Buildfile:1:11: `1x` cannot be the name of a stage",
            "  FROM a AS 1x",
            "            ^^",
            "hint: a name begins with a letter and holds letters, digits, `-`, `_` and `.`",
        ],
    ),
    (
        "FROM a AS b c",
        [
            "Buildfile:1:13: FROM expects the end of the line, not `c`",
            "  FROM a AS b c",
            "              ^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "FROM --platfrom=x a",
        [
            "Buildfile:1:6: FROM has no flag `--platfrom`",
            "  FROM --platfrom=x a",
            "       ^^^^^^^^^^",
            "hint: did you mean `--platform`?",
        ],
    ),
    (
        "FROM --platform a",
        [
            "Buildfile:1:6: `--platform` lacks a value",
            "  FROM --platform a",
            "       ^^^^^^^^^^",
            "hint: write `--platform=…`",
        ],
    ),
    (
        "FROM --platform=a --platform=b a",
        [
            "Buildfile:1:19: `--platform` is given twice",
            "  FROM --platform=a --platform=b a",
            "                    ^^^^^^^^^^^^",
        ],
    ),
    (
        "RUN --netwrok=none x",
        [
            "Buildfile:1:5: RUN has no flag `--netwrok`",
            "  RUN --netwrok=none x",
            "      ^^^^^^^^^",
            "hint: did you mean `--network`?",
        ],
    ),
    (
        "RUN --network=non x",
        [
            "Buildfile:1:5: `--network` cannot be `non`",
            "  RUN --network=non x",
            "      ^^^^^^^^^^^^^",
            "hint: did you mean `none`?",
        ],
    ),
    (
        "RUN --network=foo x",
        [
            "Buildfile:1:5: `--network` cannot be `foo`",
            "  RUN --network=foo x",
            "      ^^^^^^^^^^^^^",
            "hint: it is one of default, none, host",
        ],
    ),
    (
        "RUN --security=root x",
        [
            "Buildfile:1:5: `--security` cannot be `root`",
            "  RUN --security=root x",
            "      ^^^^^^^^^^^^^^^",
            "hint: it is one of sandbox, insecure",
        ],
    ),
    (
        "RUN --zzz x",
        [
            "Buildfile:1:5: RUN has no flag `--zzz`",
            "  RUN --zzz x",
            "      ^^^^^",
            "hint: RUN knows `--mount`, `--network`, `--security`, `--device`, `--timeout`, `--retry`, `--ttl`, "
            "`--always`, `--inputs`, `--cpus`, `--memory`, `--pool`, `--save-always`, `--with`",
        ],
    ),
    (
        "ENV",
        [
            "Buildfile:1:4: ENV expects `NAME=VALUE`, but the line ends",
            "  ENV",
            "     ^",
            "hint: usage: ENV NAME=VALUE ...",
        ],
    ),
    (
        "ENV x",
        [
            "Buildfile:1:5: ENV `x` has no value",
            "  ENV x",
            "      ^",
            "hint: write `ENV x=value`",
        ],
    ),
    (
        "ENV a=b c",
        [
            "Buildfile:1:9: ENV expects `NAME=VALUE` or the end of the line, not `c`",
            "  ENV a=b c",
            "          ^",
            "hint: quote a value that holds spaces",
        ],
    ),
    (
        "ENV =b",
        [
            "Buildfile:1:5: ENV has a value without a name",
            "  ENV =b",
            "      ^^",
            "hint: write `NAME=value`",
        ],
    ),
    (
        "ENV --x=y a=b",
        [
            "Buildfile:1:5: ENV has no flag `--x`",
            "  ENV --x=y a=b",
            "      ^^^",
            "hint: ENV takes no flags; put `--` before an argument that begins with dashes",
        ],
    ),
    (
        "LABEL a",
        [
            "Buildfile:1:7: LABEL `a` has no value",
            "  LABEL a",
            "        ^",
            "hint: write `LABEL a=value`",
        ],
    ),
    (
        "ARG",
        [
            "Buildfile:1:4: ARG expects a name, but the line ends",
            "  ARG",
            "     ^",
            "hint: usage: ARG NAME[=DEFAULT] ...",
        ],
    ),
    (
        "ARG =x",
        [
            "Buildfile:1:5: ARG has a default without a name",
            "  ARG =x",
            "      ^^",
            "hint: write `ARG NAME=default`",
        ],
    ),
    (
        "ARG a =x",
        [
            "Buildfile:1:7: ARG has a default without a name",
            "  ARG a =x",
            "        ^^",
            "hint: write `ARG NAME=default`",
        ],
    ),
    (
        "COPY a",
        [
            "Buildfile:1:7: COPY expects a destination, but the line ends",
            "  COPY a",
            "        ^",
            "hint: usage: COPY [FLAGS] SOURCE... DESTINATION",
        ],
    ),
    (
        "COPY",
        [
            "Buildfile:1:5: COPY expects a source and a destination or a JSON array of strings, but the line ends",
            "  COPY",
            "      ^",
            "hint: usage: COPY [FLAGS] SOURCE... DESTINATION",
        ],
    ),
    (
        "COPY --from=x",
        [
            "Buildfile:1:14: COPY expects a source and a destination or a JSON array of strings, but the line ends",
            "  COPY --from=x",
            "               ^",
            "hint: usage: COPY [FLAGS] SOURCE... DESTINATION",
        ],
    ),
    (
        'COPY ["a"]',
        [
            "Buildfile:1:6: COPY needs a source and a destination",
            '  COPY ["a"]',
            "       ^^^^^",
        ],
    ),
    (
        "COPY []",
        [
            "Buildfile:1:6: COPY needs a source and a destination",
            "  COPY []",
            "       ^^",
        ],
    ),
    (
        'COPY ["a", 1]',
        [
            "Buildfile:1:6: a JSON array of arguments holds only strings",
            '  COPY ["a", 1]',
            "       ^^^^^^^^",
            'hint: put quotes around every element, as in ["a", "1"]',
        ],
    ),
    (
        "COPY a <<E\nE\n",
        [
            "Buildfile:1:8: COPY cannot have a heredoc as its destination",
            "  COPY a <<E",
            "         ^^^",
            "hint: a heredoc is a source; the destination comes last",
        ],
    ),
    (
        "RUN <<E\nfoo",
        [
            "Buildfile:1:5: the heredoc `E` has no end",
            "  RUN <<E",
            "      ^^^",
            "hint: expected a line that is exactly `E`",
        ],
    ),
    (
        'RUN \\\n  cat <<-"E F" \\\n  x\nfoo',
        [
            "Buildfile:2:7: the heredoc `E F` has no end",
            '    cat <<-"E F" \\',
            "        ^^^^^^^^",
            "hint: expected a line that is exactly `E F`",
        ],
    ),
    (
        'RUN ["a", null]',
        [
            "Buildfile:1:5: a JSON array of arguments holds only strings",
            '  RUN ["a", null]',
            "      ^^^^^^^^^^^",
            'hint: put quotes around every element, as in ["a", "1"]',
        ],
    ),
    (
        "COPY --link= a b",
        [
            "Buildfile:1:6: `--link` lacks a value after the `=`",
            "  COPY --link= a b",
            "       ^^^^^^^",
            "hint: `--link` alone means true",
        ],
    ),
    (
        "COPY --link=x a b",
        [
            "Buildfile:1:6: `--link` is true or false, not `x`",
            "  COPY --link=x a b",
            "       ^^^^^^^^",
            "hint: `--link` alone means true",
        ],
    ),
    (
        "ADD --from=x a b",
        [
            "Buildfile:1:5: ADD has no flag `--from`",
            "  ADD --from=x a b",
            "      ^^^^^^",
            "hint: ADD knows `--chown`, `--chmod`, `--link`, `--keep-git-dir`, `--checksum`, `--exclude`, `--unpack`",
        ],
    ),
    (
        "SHELL foo",
        [
            "Buildfile:1:7: SHELL expects a JSON array of strings, not `foo`",
            "  SHELL foo",
            "        ^^^",
            'hint: usage: SHELL ["PROGRAM", "ARGUMENT", ...]',
        ],
    ),
    (
        "SHELL []",
        [
            "Buildfile:1:7: SHELL needs at least the name of a program",
            "  SHELL []",
            "        ^^",
        ],
    ),
    (
        "SHELL",
        [
            "Buildfile:1:6: SHELL expects a JSON array of strings, but the line ends",
            "  SHELL",
            "       ^",
            'hint: usage: SHELL ["PROGRAM", "ARGUMENT", ...]',
        ],
    ),
    (
        "HEALTHCHECK",
        [
            "Buildfile:1:12: HEALTHCHECK expects `CMD` or `NONE`, but the line ends",
            "  HEALTHCHECK",
            "             ^",
            "hint: usage: HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
        ],
    ),
    (
        "HEALTHCHECK FOO",
        [
            "Buildfile:1:13: HEALTHCHECK expects `CMD` or `NONE`, not `FOO`",
            "  HEALTHCHECK FOO",
            "              ^^^",
            "hint: usage: HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
        ],
    ),
    (
        "HEALTHCHECK NONE x",
        [
            "Buildfile:1:18: HEALTHCHECK expects the end of the line, not `x`",
            "  HEALTHCHECK NONE x",
            "                   ^",
            "hint: usage: HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
        ],
    ),
    (
        "HEALTHCHECK CMD",
        [
            "Buildfile:1:16: HEALTHCHECK expects a command or a JSON array of strings, but the line ends",
            "  HEALTHCHECK CMD",
            "                 ^",
            "hint: usage: HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
        ],
    ),
    (
        "HEALTHCHECK CMD []",
        [
            "Buildfile:1:17: HEALTHCHECK CMD needs a command",
            "  HEALTHCHECK CMD []",
            "                  ^^",
        ],
    ),
    (
        "HEALTHCHECK --interval=5 CMD x",
        [
            "Buildfile:1:13: `--interval`: `5` lacks a unit, as in `5s`",
            "  HEALTHCHECK --interval=5 CMD x",
            "              ^^^^^^^^^^^^",
        ],
    ),
    (
        "HEALTHCHECK --interval=5us CMD x",
        [
            "Buildfile:1:13: `--interval`: `5us` is shorter than 1ms",
            "  HEALTHCHECK --interval=5us CMD x",
            "              ^^^^^^^^^^^^^^",
        ],
    ),
    (
        "HEALTHCHECK --interval=-5s CMD x",
        [
            "Buildfile:1:13: `--interval`: `-5s` is shorter than 1ms",
            "  HEALTHCHECK --interval=-5s CMD x",
            "              ^^^^^^^^^^^^^^",
        ],
    ),
    (
        "HEALTHCHECK --retries=-1 CMD x",
        [
            "Buildfile:1:13: `--retries`: `-1` is negative",
            "  HEALTHCHECK --retries=-1 CMD x",
            "              ^^^^^^^^^^^^",
        ],
    ),
    (
        "HEALTHCHECK --retries=x CMD x",
        [
            "Buildfile:1:13: `--retries`: `x` is no whole number",
            "  HEALTHCHECK --retries=x CMD x",
            "              ^^^^^^^^^^^",
        ],
    ),
    (
        "ONBUILD",
        [
            "Buildfile:1:8: ONBUILD expects an instruction, but the line ends",
            "  ONBUILD",
            "         ^",
            "hint: usage: ONBUILD INSTRUCTION",
        ],
    ),
    (
        "ONBUILD ONBUILD RUN x",
        [
            "Buildfile:1:9: ONBUILD cannot be an ONBUILD trigger",
            "  ONBUILD ONBUILD RUN x",
            "          ^^^^^^^",
        ],
    ),
    (
        "ONBUILD FROM x",
        [
            "Buildfile:1:9: FROM cannot be an ONBUILD trigger",
            "  ONBUILD FROM x",
            "          ^^^^",
        ],
    ),
    (
        "ONBUILD maintainer x",
        [
            "Buildfile:1:9: MAINTAINER cannot be an ONBUILD trigger",
            "  ONBUILD maintainer x",
            "          ^^^^^^^^^^",
        ],
    ),
    (
        "ONBUILD RAN x",
        [
            "Buildfile:1:9: unknown instruction `RAN`",
            "  ONBUILD RAN x",
            "          ^^^",
            "hint: did you mean `RUN`?",
        ],
    ),
    (
        "ONBUILD COPY a",
        [
            "Buildfile:1:15: COPY expects a destination, but the line ends",
            "  ONBUILD COPY a",
            "                ^",
            "hint: usage: COPY [FLAGS] SOURCE... DESTINATION",
        ],
    ),
    (
        "ONBUILD --x RUN a",
        [
            "Buildfile:1:9: ONBUILD has no flag `--x`",
            "  ONBUILD --x RUN a",
            "          ^^^",
            "hint: ONBUILD takes no flags; put `--` before an argument that begins with dashes",
        ],
    ),
    (
        "FROM a\nRUN foo\n\t  && bar",
        [
            "Buildfile:3:4: unknown instruction `&&`",
            "  \t  && bar",
            "  \t  ^^",
            "hint: if this belongs to the line above, end that line with `\\`",
        ],
    ),
    (
        "# escape=`\nFROM a\n| x",
        [
            "Buildfile:3:1: unknown instruction `|`",
            "  | x",
            "  ^",
            "hint: if this belongs to the line above, end that line with a backtick",
        ],
    ),
    (
        "VOLUME",
        [
            "Buildfile:1:7: VOLUME expects a path or a JSON array of strings, but the line ends",
            "  VOLUME",
            "        ^",
            "hint: usage: VOLUME PATH ...",
        ],
    ),
    (
        "VOLUME []",
        [
            "Buildfile:1:8: VOLUME needs at least one path",
            "  VOLUME []",
            "         ^^",
        ],
    ),
    (
        'VOLUME ["a", ""]',
        [
            "Buildfile:1:8: a VOLUME cannot be an empty path",
            '  VOLUME ["a", ""]',
            "         ^^^^^^^^^",
        ],
    ),
    (
        "EXPOSE",
        [
            "Buildfile:1:7: EXPOSE expects a port, but the line ends",
            "  EXPOSE",
            "        ^",
            "hint: usage: EXPOSE PORT[/PROTOCOL] ...",
        ],
    ),
    (
        "WORKDIR",
        [
            "Buildfile:1:8: WORKDIR expects a path, but the line ends",
            "  WORKDIR",
            "         ^",
            "hint: usage: WORKDIR PATH",
        ],
    ),
    (
        "USER",
        [
            "Buildfile:1:5: USER expects a user, but the line ends",
            "  USER",
            "      ^",
            "hint: usage: USER NAME[:GROUP]",
        ],
    ),
    (
        "STOPSIGNAL",
        [
            "Buildfile:1:11: STOPSIGNAL expects a signal, but the line ends",
            "  STOPSIGNAL",
            "            ^",
            "hint: usage: STOPSIGNAL SIGNAL",
        ],
    ),
    (
        "MAINTAINER",
        [
            "Buildfile:1:11: MAINTAINER expects a name, but the line ends",
            "  MAINTAINER",
            "            ^",
            "hint: usage: MAINTAINER NAME",
        ],
    ),
    (
        "CMD --x foo",
        [
            "Buildfile:1:5: CMD has no flag `--x`",
            "  CMD --x foo",
            "      ^^^",
            "hint: CMD takes no flags; put `--` before an argument that begins with dashes",
        ],
    ),
    (
        "ENTRYPOINT --x foo",
        [
            "Buildfile:1:12: ENTRYPOINT has no flag `--x`",
            "  ENTRYPOINT --x foo",
            "             ^^^",
            "hint: ENTRYPOINT takes no flags; put `--` before an argument that begins with dashes",
        ],
    ),
    (
        "",
        [
            "Buildfile:1:1: the file has no instructions",
            "",
            "hint: a Buildfile starts with `FROM`",
        ],
    ),
    (
        "# only\n\n",
        [
            "Buildfile:1:1: the file has no instructions",
            "",
            "hint: a Buildfile starts with `FROM`",
        ],
    ),
    (
        "# escape=x\nFROM a",
        [
            "Buildfile:1:10: `x` cannot be the escape character",
            "  # escape=x",
            "           ^",
            "hint: it is `\\` or a backtick",
        ],
    ),
    (
        "# escape=`\n#  escape = `\nFROM a",
        [
            "Buildfile:2:4: the `escape` directive is given twice",
            "  #  escape = `",
            "     ^^^^^^",
        ],
    ),
    (
        "# check=skp=X\nFROM a",
        [
            "Buildfile:1:9: unknown key `skp` in the `check` directive",
            "  # check=skp=X",
            "          ^^^",
            "hint: did you mean `skip`?",
        ],
    ),
    (
        "# check=skip=A;error=maybe\nFROM a",
        [
            "Buildfile:1:16: `error` in the `check` directive is true or false, not `maybe`",
            "  # check=skip=A;error=maybe",
            "                 ^^^^^^^^^^^",
        ],
    ),
    (
        "# check=skip=A;error=1;experimental=all;x=y\nFROM a",
        [
            "Buildfile:1:9: the `check` directive has more than three parts",
            "  # check=skip=A;error=1;experimental=all;x=y",
            "          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        ],
    ),
    (
        "# check=skip\nFROM a",
        [
            "Buildfile:1:9: `skip` in the `check` directive is not key=value",
            "  # check=skip",
            "          ^^^^",
        ],
    ),
    (
        "FROM a\n\\\n",
        [
            "Buildfile:2:1: nothing follows the continuation character",
            "  \\",
            "  ^",
        ],
    ),
    (
        "FROM a\nRUN echo \\\n  --x \\\n  | foo\n LBAEL a=b",
        [
            "Buildfile:5:2: unknown instruction `LBAEL`",
            "   LBAEL a=b",
            "   ^^^^^",
            "hint: did you mean `LABEL`?",
        ],
    ),
    (
        "FROM a\n" + "x" * 65536,
        [
            "Buildfile:2:1: the line is longer than 65535 bytes",
            "",
            "hint: continue it on the next line, or put the text in a file",
        ],
    ),
    (
        'FROM a\nRUN a\nCOPY a b \\\n --bad=1 \\\n "x \nfoo bar',
        [
            "Buildfile:6:1: unknown instruction `foo`",
            "  foo bar",
            "  ^^^",
            "hint: if this belongs to the line above, end that line with `\\`",
        ],
    ),
    (
        '{"a": 1}',
        [
            'Buildfile:1:1: unknown instruction `{"a":`',
            '  {"a": 1}',
            "  ^^^^^",
        ],
    ),
    (
        "FROM ä ö",
        [
            "Buildfile:1:8: FROM expects `AS` or the end of the line, not `ö`",
            "  FROM ä ö",
            "         ^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "\tFROM\ta\tb",
        [
            "Buildfile:1:9: FROM expects `AS` or the end of the line, not `b`",
            "  \tFROM\ta\tb",
            "  \t    \t \t^",
            "hint: usage: FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        ],
    ),
    (
        "COPY a b\nADD --chmdo=1 \\\n a b",
        [
            "Buildfile:2:5: ADD has no flag `--chmdo`",
            "  ADD --chmdo=1 \\",
            "      ^^^^^^^",
            "hint: did you mean `--chmod`?",
        ],
    ),
    (
        "FROM a\nRUN x " + "y" * 200 + "\nCOPY --form=" + "z" * 300 + " a b",
        [
            "Buildfile:3:6: COPY has no flag `--form`",
            "  COPY --form=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "       ^^^^^^",
            "hint: did you mean `--from`?",
        ],
    ),
    (
        "FROM a\nENV " + "a=b " * 50 + "c " + "d=e " * 50,
        [
            "Buildfile:2:205: ENV expects `NAME=VALUE` or the end of the line, not `c`",
            "   a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b c d=e d=e d=e d=e d=e d=e d=e d=e d=e d=e d=e d=e d",
            "                                                   ^",
            "hint: quote a value that holds spaces",
        ],
    ),
]


@pytest.mark.parametrize(("text", "said"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_said(text: str, said: list[str]) -> None:
    with pytest.raises(BuildfileSyntaxError) as caught:
        parse_text(text, "Buildfile")
    problem = caught.value
    shown = [str(problem), *problem.excerpt.split("\n"), *([f"hint: {problem.hint}"] if problem.hint else [])]
    assert shown == said
    assert problem.exit_code == 3
