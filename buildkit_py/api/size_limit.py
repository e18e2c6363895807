"""Limits of an image's size: a gate that a build or a job of CI passes, or ends at with a code of its own."""

from __future__ import annotations

from buildkit_py.errors import SizeExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.opened import OpenedImage
    from buildkit_py.api.request import SizeLimits
    from buildkit_py.api.session import Session


def check_size(limits: SizeLimits, size: int, before: OpenedImage | None, name: str) -> None:
    """Hold the size of an image, in bytes as it is pulled, against the limits; `before` is what it may outgrow only
    so far, None where there is none. `name` is for `pybuild size`. Raises `SizeExceeded`.
    """
    hint = f"`pybuild size {name} --by=step` shows what takes it"
    if limits.most is not None and size > limits.most:
        raise SizeExceeded(f"the image takes {size:,} bytes, and `--max-size` allows {limits.most:,}", hint=hint)
    if before is None or not limits.compares:
        return
    if limits.growth is not None:
        allowed, rule = limits.growth, ""
    else:
        allowed, rule = int(before.size * (limits.percent or 0) / 100), f"{limits.percent:g}% of it: "
    grown = size - before.size
    if grown > allowed:
        raise SizeExceeded(
            f"the image grew by {grown:,} bytes, and `--max-growth` allows {rule}{allowed:,}",
            notes=(f"it takes {size:,} bytes now, and {before.size:,} as `{before.name}` ({before.digest[:19]})",),
            hint=hint,
        )


def other_image(session: Session, limits: SizeLimits, name: str) -> OpenedImage | None:
    """What an image is to be compared with: the one that the limits name, else what `name` stands for in the store
    now; None where that is nothing. Raises what `open_image` raises for one that the limits name.
    """
    from buildkit_py.api.opened import open_image

    if limits.against:
        return open_image(session, limits.against)
    if name and session.store.images.get(name) is not None:
        from buildkit_py.errors import ImageNotFound, StoreError

        try:
            return open_image(session, name)
        except (ImageNotFound, StoreError):
            return None  # it is damaged, which is no reason to keep a new one from its name
    return None
