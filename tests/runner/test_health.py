from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.image.config import Healthcheck
from buildkit_py.runner.health import HEALTHY, STARTING, UNHEALTHY, Check, Health, check_of, kept_output

CHECK = Check(("true",), interval=30.0, start_period=10.0, start_interval=2.0, retries=2)
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("before", "streak", "code", "age", "after"),
    [
        # In the start period nothing that fails counts, and what succeeds does.
        (STARTING, 0, 1, 0.0, Health(STARTING, 0, 1, "said")),
        (STARTING, 0, 1, 9.99, Health(STARTING, 0, 1, "said")),
        (STARTING, 0, 0, 1.0, Health(HEALTHY, 0, 0, "said")),
        # Once it was healthy, it counts there, too.
        (HEALTHY, 0, 1, 5.0, Health(HEALTHY, 1, 1, "said")),
        # After it.
        (STARTING, 0, 1, 10.0, Health(STARTING, 1, 1, "said")),
        (STARTING, 1, 127, 20.0, Health(UNHEALTHY, 2, 127, "said")),
        (HEALTHY, 1, -1, 60.0, Health(UNHEALTHY, 2, -1, "said")),
        (UNHEALTHY, 2, 1, 90.0, Health(UNHEALTHY, 3, 1, "said")),
        (UNHEALTHY, 9, 0, 90.0, Health(HEALTHY, 0, 0, "said")),
        (HEALTHY, 0, 0, 90.0, Health(HEALTHY, 0, 0, "said")),
    ],
)
def test_what_a_result_comes_to(before: str, streak: int, code: int, age: float, after: Health) -> None:
    assert Health(before, streak).after(CHECK, code, "said", age) == after


@pytest.mark.parametrize(
    ("status", "age", "pause"),
    [(STARTING, 0.0, 2.0), (STARTING, 9.9, 2.0), (STARTING, 10.0, 30.0), (HEALTHY, 3.0, 30.0), (UNHEALTHY, 50.0, 30.0)],
)
def test_when_the_next_one_is(status: str, age: float, pause: float) -> None:
    assert Health(status).pause(CHECK, age) == pause


def test_a_life_by_the_clock() -> None:
    """Up after 25 seconds, broken from 100 to 130: when checks run, and what is seen of it."""
    now, health, seen = 0.0, Health(), []
    while now < 200:
        now += health.pause(CHECK, now)
        well = now >= 25 and not 100 <= now < 130
        health = health.after(CHECK, 0 if well else 1, "", now)
        seen.append((now, health.status, health.streak))
    assert seen == [
        *[(at, STARTING, 0) for at in (2.0, 4.0, 6.0, 8.0)],
        (10.0, STARTING, 1),
        (40.0, HEALTHY, 0),
        (70.0, HEALTHY, 0),
        (100.0, HEALTHY, 1),
        (130.0, HEALTHY, 0),
        (160.0, HEALTHY, 0),
        (190.0, HEALTHY, 0),
        (220.0, HEALTHY, 0),
    ]


def test_one_that_never_comes_up() -> None:
    check = Check(("false",), retries=3)
    health = Health()
    for _ in range(3):
        assert health.status == STARTING
        health = health.after(check, 1, "", 30.0)
    assert (health.status, health.streak) == (UNHEALTHY, 3)


IMAGE = Healthcheck(("CMD-SHELL", "curl x"), 5 * SECOND, 90 * SECOND, 0, 0, 7)


@pytest.mark.parametrize(
    ("image", "asked", "check"),
    [
        (None, None, None),
        (Healthcheck(), None, None),
        (Healthcheck(("NONE",)), None, None),
        (Healthcheck(("CMD", "a", "b")), None, Check(("a", "b"), 30.0, 30.0, 0.0, 5.0, 3)),
        (IMAGE, None, Check(("/bin/sh", "-c", "curl x"), 5.0, 90.0, 0.0, 5.0, 7)),
        (IMAGE, Healthcheck(), Check(("/bin/sh", "-c", "curl x"), 5.0, 90.0, 0.0, 5.0, 7)),
        (IMAGE, Healthcheck(("NONE",)), None),
        (None, Healthcheck(("NONE",)), None),
        (IMAGE, Healthcheck(("CMD", "x"), retries=1), Check(("x",), 5.0, 90.0, 0.0, 5.0, 1)),
        (
            IMAGE,
            Healthcheck((), SECOND // 2, 0, 60 * SECOND, 3 * SECOND),
            Check(("/bin/sh", "-c", "curl x"), 0.5, 90.0, 60.0, 3.0, 7),
        ),
        (Healthcheck(("NONE",)), Healthcheck(("CMD", "x")), Check(("x",))),
    ],
)
def test_what_an_image_and_a_request_make(
    image: Healthcheck | None, asked: Healthcheck | None, check: Check | None
) -> None:
    assert check_of(image, None, asked) == check


def test_the_shell_is_the_images_own() -> None:
    found = check_of(IMAGE, ("/bin/bash", "-ec"), None)
    assert found is not None
    assert found.argv == ("/bin/bash", "-ec", "curl x")


@pytest.mark.parametrize(
    ("image", "asked", "message"),
    [
        (None, Healthcheck(interval=SECOND), "has no health check"),
        (Healthcheck(("NONE",)), Healthcheck(retries=2), "has no health check"),
        (Healthcheck(("HTTP", "x")), None, "begins with `HTTP`"),
        (Healthcheck(("CMD",)), None, "has no command"),
    ],
)
def test_what_is_refused(image: Healthcheck | None, asked: Healthcheck | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_of(image, None, asked)


def test_the_end_of_what_it_wrote_is_kept() -> None:
    assert kept_output(b"x" * 5000 + b"end") == "x" * 4093 + "end"
    assert kept_output("ö".encode()[1:] + b"a") == "\ufffda"
