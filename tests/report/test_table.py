"""Tables."""

from __future__ import annotations

from buildkit_py.report.table import table


def test_columns_are_aligned_and_cells_are_safe():
    text = table(("NAME", "SIZE"), [("a\x1b[2J", "1kB"), ("long-name-here", "12.3MB")], right=(1,))
    assert text == ("NAME               SIZE\na\\x1b[2J            1kB\nlong-name-here   12.3MB\n")
