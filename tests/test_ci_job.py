"""Which CI job a command runs in, by the variables that GitHub and GitLab set."""

from __future__ import annotations

import pytest

from buildkit_py.ci_job import CiJob, ci_job

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "team/shop",
    "GITHUB_RUN_ID": "17",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_JOB": "image",
    "RUNNER_NAME": "a",
    "GITHUB_WORKSPACE": "/w",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_SERVER_URL": "https://gitlab.example",
    "CI_JOB_ID": "17",
    "CI_PROJECT_DIR": "/builds/shop",
}


@pytest.mark.parametrize("env", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": "", "GITLAB_CI": "false"}])
def test_where_no_system_is_known_all_is_one_job(env: dict[str, str]) -> None:
    assert ci_job(env) == CiJob("")


@pytest.mark.parametrize(("env", "project"), [(GITHUB, "/w"), (GITLAB, "/builds/shop")])
def test_the_project_is_where_the_sources_are(env: dict[str, str], project: str) -> None:
    job = ci_job(env)
    assert job.project == project
    assert job.name
    assert not job.pulls


@pytest.mark.parametrize(
    ("env", "other"),
    [
        (GITHUB, {"GITHUB_RUN_ID": "18"}),
        (GITHUB, {"GITHUB_RUN_ATTEMPT": "2"}),
        (GITHUB, {"GITHUB_JOB": "docs"}),
        (GITHUB, {"RUNNER_NAME": "b"}),
        (GITHUB, {"GITHUB_REPOSITORY": "team/other"}),
        (GITLAB, {"CI_JOB_ID": "18"}),
        (GITLAB, {"CI_SERVER_URL": "https://other.example"}),
    ],
)
def test_another_job_has_another_name(env: dict[str, str], other: dict[str, str]) -> None:
    assert ci_job({**env, **other}).name != ci_job(env).name


@pytest.mark.parametrize(
    ("env", "more", "pulls"),
    [
        (GITHUB, {"GITHUB_EVENT_NAME": "push"}, False),
        (GITHUB, {"GITHUB_EVENT_NAME": "pull_request"}, True),
        (GITHUB, {"GITHUB_EVENT_NAME": "pull_request_target"}, True),
        (GITLAB, {"CI_MERGE_REQUEST_IID": ""}, False),
        (GITLAB, {"CI_MERGE_REQUEST_IID": "5"}, True),
    ],
)
def test_proposed_changes_are_told(env: dict[str, str], more: dict[str, str], pulls: bool) -> None:
    assert ci_job({**env, **more}).pulls is pulls
