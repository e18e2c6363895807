"""What becomes of a built target: its image, its names, and every output that was asked for."""

from __future__ import annotations

import os

from buildkit_py.api.request import OutputSpec, TargetResult
from buildkit_py.errors import ExportError, UsageError
from buildkit_py.events import Exported, Notice
from buildkit_py.executor.pack_layers import Packer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.executor.result import Result
    from buildkit_py.exporter.image import Image
    from buildkit_py.exporter.output import Output
    from buildkit_py.frontend.target import Target

_IMAGES = ("oci", "docker", "registry", "image")


class WriteOut:
    """Writes out the targets of one build. `packer` packs their layers; None where no image was asked for."""

    def __init__(
        self, request: BuildRequest, session: Session, emit: Emit, packer: Packer | None, epoch: int | None
    ) -> None:
        self.request = request
        self.session = session
        self.emit = emit
        self.packer = packer
        self.epoch = epoch
        self._outputs: list[Output] = []
        if request.outputs:
            from buildkit_py.exporter.output import check

            self._outputs = [check(spec.kind, spec.dest, spec.attributes) for spec in request.outputs]

    def target(self, target: Target, result: Result | None, *, alone: bool) -> TargetResult:
        """Write one target out. `alone`: it is the only one, so outputs go where they say and not below."""
        snapshot = result.snapshot if result is not None else ""
        tags = tuple(_full(tag) for tag in (*self.request.tags, *target.tags)) if alone else _tags(target)
        if not alone and self.request.tags:
            raise UsageError("`-t` names one image, and several targets were asked for", hint="build them one by one")
        digest = ""
        if self.packer is not None:
            digest = self._image(target, snapshot, self.packer)
            for tag in tags:
                self.session.store.images.set(tag, digest)
        for output in self._outputs:
            self._write(output, target, snapshot, digest, tags, alone)
        for placed in target.outputs:
            self._place(placed.source, placed.dest, snapshot)
        return TargetResult(target.name, snapshot, digest, tags, config=target.config)

    def metadata(self, results: Sequence[TargetResult]) -> None:
        """Write the files that the command line asked for about what was built."""
        if self.request.iidfile:
            _write_file(self.request.iidfile, "\n".join(one.image for one in results))
        if self.request.metadata_file:
            import json

            data = {one.name: self._about(one) for one in results}
            first = next(iter(data.values())) if len(data) == 1 else data
            _write_file(self.request.metadata_file, json.dumps(first, indent=2) + "\n")

    # -- images

    def _image(self, target: Target, snapshot: str, packer: Packer, output: Output | None = None) -> str:
        from buildkit_py.exporter.image import Built, make_image, timestamp

        store = self.session.store
        layers = store.snapshots.layers(snapshot)
        history, created = [], ""
        remaining = iter(layers)
        inherited = 0
        for number, entry in enumerate(target.history):
            layer = next(remaining, "") if not entry.empty_layer else ""
            if entry.created:
                inherited = number + 1
            elif layer:
                meta = store.layers.get(layer)
                created = timestamp(meta.created) if meta is not None and meta.created else created
            history.append(entry if entry.created else entry.replace(created=created))
            created = entry.created or created
        built = Built(
            config=target.config,
            history=tuple(history),
            platform=target.platform,
            layers=layers,
            author=target.author,
            created=created,
            labels=self.request.labels,
            inherited=inherited,
            epoch=self.epoch,
        )
        return make_image(store, built, packer.blob, docker_types=output is not None and output.docker_types)

    def _image_for(self, output: Output, target: Target, snapshot: str, digest: str) -> str:
        """The image as this output wants it packed; the build's own where that is the same."""
        compression = {"uncompressed": "none", "": ""}.get(output.compression, output.compression)
        if not compression and not output.docker_types:
            return digest
        if output.docker_types and not compression:
            compression = "gzip"
        packer = Packer(
            self.session.store,
            self.session.materializer(),
            compression,
            output.level,
            self.epoch,
            force=output.force,
        )
        return self._image(target, snapshot, packer, output)

    # -- outputs

    def _write(
        self, output: Output, target: Target, snapshot: str, digest: str, tags: Sequence[str], alone: bool
    ) -> None:
        began = self.session.clock()
        dest = output.dest
        if not alone and dest not in ("", "-"):
            dest = os.path.join(dest, target.name)
        names = tuple(output.names) or tuple(tags)
        match output.kind:
            case "cacheonly" | "image" if not dict(output.attributes).get("push"):
                return
            case "local":
                self._local(self._trees(snapshot, target), dest)
            case "tar":
                from buildkit_py.exporter.tar import export_tar

                export_tar(self._trees(snapshot, target), dest, epoch=self.epoch)
            case "oci" | "docker":
                digest = self._image_for(output, target, snapshot, digest)
                self._archive(output, dest, digest, names)
            case _:
                digest = self._image_for(output, target, snapshot, digest)
                self._push(digest, names)
        self.emit(Exported(output.kind, dest or ", ".join(names), digest, self.session.clock() - began))

    def _archive(self, output: Output, dest: str, digest: str, names: Sequence[str]) -> None:
        from buildkit_py.exporter.docker import export_docker
        from buildkit_py.exporter.image import load
        from buildkit_py.exporter.oci import export_oci

        image = load(self.session.store, digest)
        self._fetch(image)
        write = export_oci if output.kind == "oci" else export_docker
        write(self.session.store, image, dest, names=names, directory=output.directory)

    def _fetch(self, image: Image) -> None:
        """Get the blobs of base layers that nothing has needed until now."""
        store = self.session.store
        for layer, diff_id in zip(image.manifest.layers, image.document.diff_ids, strict=True):
            if not store.blobs.has(layer.digest):
                self.session.fetcher().ensure_blob(diff_id.removeprefix("sha256:"))

    def _push(self, digest: str, names: Sequence[str]) -> None:
        from buildkit_py.exporter.registry import export_registry

        export_registry(self.session.store, self.session.client(), digest, names)

    def _trees(self, snapshot: str, target: Target) -> tuple[str, ...]:
        layers = self.session.store.snapshots.layers(snapshot)
        trees = self.session.materializer().trees(layers)
        if trees.host:
            raise ExportError(
                f"`{target.name}` stands on this machine's own root filesystem, which is not copied out",
                at=target.position,
                hint="copy what it made into scratch() and write that out",
            )
        return trees.directories

    def _local(self, trees: Sequence[str], dest: str) -> None:
        from buildkit_py.exporter.local import export_local

        copied = export_local(trees, dest, epoch=self.epoch, keep_owners=self.session.identity.privileged)
        if copied.left_out:
            self.emit(
                Notice(
                    "warning",
                    f"{len(copied.left_out)} device files were left out, for they need root: {copied.left_out[0]}, …",
                )
            )

    def _place(self, source: str, dest: str, snapshot: str) -> None:
        """Put what an OUTPUT names into the project directory, and nowhere else."""
        from buildkit_py.exporter.place import place

        base = self.request.context or os.path.dirname(self.request.file)
        layers = self.session.store.snapshots.layers(snapshot)
        trees = self.session.materializer().trees(layers)
        began = self.session.clock()
        roots = (("/",) if trees.host else ()) + trees.directories
        place(roots, source, base, dest, keep_owners=self.session.identity.privileged)
        self.emit(Exported("output", os.path.join(base, dest), "", self.session.clock() - began))

    def _about(self, result: TargetResult) -> dict[str, object]:
        about: dict[str, object] = {}
        if result.image:
            data = self.session.store.blobs.read(result.image)
            from buildkit_py.image import manifest

            found = manifest.parse(data)
            about["containerimage.digest"] = result.image
            about["containerimage.config.digest"] = getattr(found, "config").digest  # noqa: B009
            about["containerimage.descriptor"] = {
                "mediaType": found.media_type,
                "digest": result.image,
                "size": len(data),
            }
        if result.tags:
            about["image.name"] = ",".join(result.tags)
        return about


def _tags(target: Target) -> tuple[str, ...]:
    return tuple(_full(tag) for tag in target.tags)


def _full(tag: str) -> str:
    from buildkit_py.image import reference

    return str(reference.parse(tag))


def _write_file(path: str, text: str) -> None:
    try:
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w") as file:
            file.write(text)
        os.rename(temporary, path)
    except OSError as problem:
        raise ExportError(f"the file cannot be written: {problem.strerror}", at=path) from problem


def wants_image(outputs: Sequence[OutputSpec]) -> bool:
    """Whether one of these outputs is an image."""
    return any(output.kind in _IMAGES for output in outputs)
