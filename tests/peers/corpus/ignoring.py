"""Cases of ignore files."""

from __future__ import annotations

from tests.peers.case import Case, Link

TREE = {
    "a.txt": "a",
    "b.md": "b",
    "README.md": "r",
    "src/a.txt": "a",
    "src/b.o": "o",
    "src/deep/c.o": "o",
    "src/deep/keep.o": "o",
    "src/deep/d.c": "c",
    "node_modules/x/y": "y",
    "node_modules/x/keep": "k",
    ".git/HEAD": "h",
    ".env": "e",
    "weird [x]": "w",
    "link": Link("src"),
}
TEXT = "FROM scratch\nCOPY . /\n"


def _case(name: str, ignore: str, text: str = TEXT, **more: str) -> Case:
    return Case(name, text, {**TREE, ".dockerignore": ignore, **more})


CASES = (
    _case("ignore names", "a.txt\nsrc/deep\n.git\n"),
    _case("ignore wildcards", "*.md\n*/*.o\n?.txt\n"),
    _case("ignore at any depth", "**/*.o\n**/a.txt\n"),
    _case("ignore and take back", "**/*.o\n!src/deep/keep.o\n*.md\n!README.md\n"),
    _case("ignore directory and take back", "node_modules\n!node_modules/x/keep\n"),
    _case("ignore all and take back", "*\n!src\nsrc/*.o\n"),
    _case("ignore all at any depth", "**\n!src/deep/d.c\n"),
    _case("ignore order", "!README.md\n*.md\n"),
    _case("ignore with slashes", "/a.txt\nsrc/\n./b.md\nsrc/../.env\n"),
    _case("ignore with comments and blanks", "# comment\n\n  a.txt  \n #b.md\n! README.md\n"),
    _case("ignore trailing stars", "src/**\nnode_modules/*\n"),
    _case("ignore middle stars", "src/**/keep.o\n**/x/**\n"),
    _case("ignore classes", "[ab].*\nweird \\[x\\]\n"),
    _case("ignore dot", ".\n"),
    _case("ignore the Dockerfile", "Dockerfile\n.dockerignore\n"),
    _case("ignore symlink", "link\n"),
    _case("ignore below a symlink", "link/a.txt\n"),
    _case("ignore with a byte order mark", "\ufeffa.txt\n"),
    _case("ignore with carriage returns", "a.txt\r\n*.md\r\n"),
    _case("ignore bad pattern", "[\n"),
    _case("ignore empty negation", "!\n"),
    _case("ignore file of the Dockerfile", "*.md\n", **{"Dockerfile.dockerignore": "a.txt\n"}),
    _case("ignore file of the Dockerfile that is empty", "*.md\n", **{"Dockerfile.dockerignore": ""}),
    _case("ignore what is copied", "a.txt\n", "FROM scratch\nCOPY a.txt /\n"),
    _case("ignore what a wildcard finds", "a.txt\n", "FROM scratch\nCOPY *.txt *.md /x/\n"),
    _case(
        "ignore what is mounted",
        "src/deep\n.env\n",
        "FROM busybox\nRUN --mount=type=bind,target=/c find /c | sort > /1\n",
    ),
    _case("ignore and copy a part", "src/*.o\n", "FROM scratch\nCOPY src /s\nCOPY node_modules/x /n/\n"),
    Case(
        "ignore file of a named context",
        "FROM scratch\nCOPY --from=extra . /x/\nCOPY a.md /\n",
        {
            "a.md": "a",
            ".dockerignore": "*.txt\n",
            "side/.dockerignore": "*.md\n",
            "side/Dockerfile.dockerignore": "c.txt\n",
            "side/b.md": "b",
            "side/c.txt": "c",
        },
        ("--build-context", "extra=side"),
    ),
)
