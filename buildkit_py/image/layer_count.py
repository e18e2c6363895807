"""How many layers an image may have: as many as can be mounted over each other."""

from __future__ import annotations

from buildkit_py.errors import ExportError

MAX_LAYERS = 500
"""overlayfs takes as many lower directories (OVL_MAX_STACK, fs/overlayfs)."""


def check_count(layers: int, *, at: object = None) -> None:
    """Raise `ExportError` if an image may not have so many layers."""
    if layers > MAX_LAYERS:
        raise ExportError(
            f"the image would have {layers} layers; the most is {MAX_LAYERS}",
            at=at,
            hint="join RUN instructions, or COPY --from this stage into a new one",
        )
