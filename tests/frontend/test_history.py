"""`created_by` texts against what BuildKit writes."""

import pytest

from buildkit_py.frontend import history
from buildkit_py.frontend.history import format_duration
from buildkit_py.image.config import Healthcheck

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", '"plain"'),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("tab\tline\nbell\a", '"tab\\tline\\nbell\\a"'),
        ("\x00\x1f\x7f", '"\\x00\\x1f\\x7f"'),
        ("grün 日本", '"grün 日本"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quoting_is_gos(text, expected):
    assert history.quote(text) == expected


def test_lists_and_maps_print_as_go_prints_them():
    assert history.quoted_list(("sh", "-c", "a b")) == '["sh" "-c" "a b"]'
    assert history.quoted_list(()) == "[]"
    assert history.plain_list(("/a", "/b")) == "[/a /b]"
    assert history.port_map(("80/tcp", "443/tcp", "80/tcp")) == "map[443/tcp:{} 80/tcp:{}]"


def test_run_shows_the_args_in_the_order_of_their_declaration():
    args = (("A", "1"), ("B", ""), ("A", "1"))
    assert history.run_text(args, ("/bin/sh", "-c", "make")) == "RUN |3 A=1 B= A=1 /bin/sh -c make"
    assert history.run_text((), ("make",)) == "RUN make"


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (Healthcheck(("NONE",)), """HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\\x00'}"""),
        (
            Healthcheck(("CMD-SHELL", "curl -f x"), 30 * SECOND, 3 * SECOND, 90 * SECOND, 0, 3),
            """HEALTHCHECK &{["CMD-SHELL" "curl -f x"] "30s" "3s" "1m30s" "0s" '\\x03'}""",
        ),
        (Healthcheck(("CMD", "x"), retries=39), """HEALTHCHECK &{["CMD" "x"] "0s" "0s" "0s" "0s" '\\''}"""),
        (Healthcheck(("CMD", "x"), retries=65), """HEALTHCHECK &{["CMD" "x"] "0s" "0s" "0s" "0s" 'A'}"""),
    ],
)
def test_health_checks_print_as_go_prints_a_pointer_to_a_struct(check, expected):
    assert history.healthcheck_text(check) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (1_000_000, "1ms"),
        (1_500_000, "1.5ms"),
        (SECOND, "1s"),
        (1_500_000_000, "1.5s"),
        (60 * SECOND, "1m0s"),
        (3600 * SECOND, "1h0m0s"),
        (3661 * SECOND + 1, "1h1m1.000000001s"),
        (-SECOND, "-1s"),
    ],
)
def test_durations_print_as_gos_string(nanoseconds, expected):
    assert format_duration(nanoseconds) == expected
