"""The reference pages say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import buildkit_py
from buildkit_py import errors
from buildkit_py.cli.main import COMMANDS
from buildkit_py.cli.reference import reference

DOCS = Path(buildkit_py.__file__).parent.parent / "docs"
# `env.get("NAME"`, `environ["NAME"]`, and the one name that has a constant.
READ = re.compile(r"""(?:\b|_)(?:env|environ|environment)(?:\.get\(|\[)b?"([A-Za-z_]+)"|_VARIABLE = "([A-Z_]+)\"""")


def test_cli_is_up_to_date():
    text = (DOCS / "reference/cli.md").read_text()
    assert text == reference(), "run: python -m buildkit_py.cli.reference > docs/reference/cli.md"
    for name in COMMANDS:
        assert f"\n## {name}\n" in text


def test_every_class_of_errors_has_its_code():
    text = (DOCS / "reference/exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", text, re.MULTILINE)
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.PybuildError) and error is not errors.PybuildError:
            assert any(code == str(error.exit_code) and f"`{name}`" in names for code, names in rows)


def test_every_variable_that_is_read_is_documented():
    text = (DOCS / "reference/environment.md").read_text()
    found = set()
    for path in Path(buildkit_py.__file__).parent.rglob("*.py"):
        found |= {first or second for first, second in READ.findall(path.read_text())}
    assert {"PYBUILD_HOME", "NO_COLOR", "SSL_CERT_FILE", "PYBUILD_REGISTRY_MIRRORS"} <= found
    missing = sorted(name for name in found if f"`{name}`" not in text)
    assert missing == []
