"""Each rule has a page whose bad example gives exactly that rule and whose good one gives none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit_py.cli.checks_reference import reference
from buildkit_py.frontend.buildfile.checks.registry import RULES
from buildkit_py.frontend.buildfile.checks.rule import BUILDKIT, EXPERIMENTAL, OWN, Rule
from tests.frontend.buildfile.checks.checking import check, mended

PAGES = Path(__file__).resolve().parents[4] / "docs" / "reference" / "checks"
PLATFORMS = {"InvalidBaseImagePlatform": "linux/arm64"}


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def found(rule: Rule, text: str, context: Path) -> list[str]:
    platform = PLATFORMS.get(rule.name, "linux/amd64")
    return [finding.rule for finding in check(text, own=True, context=str(context), platform=platform)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_examples_of_the_page(rule: Rule, tmp_path: Path) -> None:
    page = (PAGES / f"{rule.name}.md").read_text()
    bad, good = blocks(page, "dockerfile")
    for text in blocks(page, ".dockerignore"):
        (tmp_path / ".dockerignore").write_text(text)
    assert set(found(rule, bad, tmp_path)) == {rule.name}
    assert found(rule, good, tmp_path) == []
    assert page.startswith(f"# {rule.name}\n\n{rule.summary}")
    assert f"\n{rule.advice[0].upper()}{rule.advice[1:]}.\n" in page
    assert ("--fix" in page) == rule.fixes
    assert not rule.url or rule.url in page


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.fixes], ids=lambda rule: rule.name)
def test_what_says_that_it_mends_mends_its_example(rule: Rule, tmp_path: Path) -> None:
    bad, _ = blocks((PAGES / f"{rule.name}.md").read_text(), "dockerfile")
    assert check(mended(bad), own=True) == ()


def test_no_page_without_a_rule() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {rule.name for rule in RULES} | {"README"}


def test_the_index_is_up_to_date() -> None:
    assert (PAGES / "README.md").read_text() == reference()


def test_all_of_buildkits_rules_and_ten_of_ours() -> None:
    kinds = [rule.kind for rule in RULES]
    assert (kinds.count(BUILDKIT), kinds.count(EXPERIMENTAL), kinds.count(OWN)) == (21, 1, 10)
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_addresses_are_buildkits() -> None:
    slugs = {rule.name: rule.url.rstrip("/").rpartition("/")[2] for rule in RULES}
    assert slugs["JSONArgsRecommended"] == "json-args-recommended"
    assert slugs["SecretsUsedInArgOrEnv"] == "secrets-used-in-arg-or-env"
    assert slugs["InvalidBaseImagePlatform"] == slugs["UnusedArg"] == ""
