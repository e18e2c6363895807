"""The `tar` output: a result's whole filesystem as one plain tar, to a file or standard output."""

from __future__ import annotations

from buildkit_py.exporter.flatten import flatten
from buildkit_py.exporter.sink import Sink
from buildkit_py.image.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def export_tar(trees: Sequence[str], dest: str, *, epoch: int | None = None) -> None:
    """Write what the layers in these directories (lowest first) come to; the same bytes for the same files.

    `dest` "-" is standard output. `epoch`: no later time is written. Raises
    `ExportError` where the output cannot be written, `StoreError` for a damaged layer.
    """
    entries = flatten(trees)
    with Sink(dest) as sink:
        pack(entries, sink.write, compression="none", epoch=epoch)
