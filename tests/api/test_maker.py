"""By what name a record says where it was made."""

from __future__ import annotations

import os

from buildkit_py.api.maker import maker


def test_without_a_ci_it_is_the_machine() -> None:
    assert maker({}) == os.uname().nodename
    assert maker({"GITHUB_SERVER_URL": "https://github.com"}) == os.uname().nodename


def test_of_a_ci_it_is_the_run() -> None:
    github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"}
    assert maker(github) == "https://github.com/a/b/actions/runs/7"
    assert maker({"CI_JOB_URL": "https://gitlab.example/a/b/-/jobs/7"}) == "https://gitlab.example/a/b/-/jobs/7"
    assert maker({"BUILD_URL": "job 7"}) == "job 7"


def test_nothing_secret_and_no_control_character_is_in_it() -> None:
    address = "https://user:word@ci.example/7?token=word\x1b[31m"
    assert maker({"BUILD_URL": address}) == "https://ci.example/7"
    assert maker({"BUILD_URL": "https://ci.example/\x1b[31m\udcff/7"}) == "https://ci.example/[31m/7"
    assert len(maker({"BUILD_URL": "https://ci.example/" + "x" * 5000})) == 200
