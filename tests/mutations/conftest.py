"""The worlds of `tests/behaviour`, for changes that are seen through the whole command line."""

from __future__ import annotations

from tests.behaviour.conftest import base_layout, shared, user_python, world

__all__ = ["base_layout", "shared", "user_python", "world"]
