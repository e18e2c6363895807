"""What becomes of a built target: its image, its names, and every output that was asked for."""

from __future__ import annotations

import os

from buildkit_py.api.request import OutputSpec, TargetResult
from buildkit_py.errors import ExportError, PybuildError, UsageError
from buildkit_py.events import Exported, Notice
from buildkit_py.executor.pack_layers import Packer
from buildkit_py.graph.op import ImageSource, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.session import Session
    from buildkit_py.api.witness import Witness
    from buildkit_py.events import Emit
    from buildkit_py.executor.result import Result
    from buildkit_py.exporter.image import Image
    from buildkit_py.exporter.output import Output
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.image.config import ImageDocument

_IMAGES = ("oci", "docker", "registry", "image")
# What the command line calls compressions, and what layers call them.
PACKED_AS = {"zstd": "zstd", "gzip": "gzip", "uncompressed": "none", "none": "none", "": "zstd"}


class WriteOut:
    """Writes out the targets of one build. `packer` packs their layers; None where no image was asked for.

    `witness` takes down what was written, or that this cannot be checked later.
    """

    def __init__(
        self,
        request: BuildRequest,
        session: Session,
        emit: Emit,
        packer: Packer | None,
        epoch: int | None,
        witness: Witness,
    ) -> None:
        self.request = request
        self.session = session
        self.emit = emit
        self.packer = packer
        self.epoch = epoch
        self.witness = witness
        self._outputs: list[Output] = []
        if request.outputs:
            from buildkit_py.exporter.output import check

            self._outputs = [check(spec.kind, spec.dest, spec.attributes) for spec in request.outputs]
        if sum(output.dest == "-" for output in self._outputs) > 1:
            raise UsageError("two outputs cannot both go to standard output", hint="name a file for one of them: dest=")

    def check(self, targets: Sequence[Target]) -> None:
        """Refuse what cannot be written out, before anything is built for it. Raises `UsageError`, `ExportError`."""
        for tag in self.request.tags:
            _full(tag)
        if len(targets) > 1:
            if self.request.tags:
                raise UsageError(
                    "`-t` names one image, and several targets were asked for", hint="build them one by one"
                )
            if any(output.dest == "-" for output in self._outputs):
                raise UsageError(
                    "several targets cannot all go to standard output", hint="name a directory for them: dest="
                )
        nameless = any(output.kind == "registry" and not output.names for output in self._outputs)
        for target in targets:
            if nameless and not (self.request.tags or target.tags):
                raise UsageError(
                    f"there is no name to push `{target.name}` under",
                    at=target.position,
                    hint="give one with -t, name= in the output, or TAG in the Buildfile",
                )
            if self.request.limits.compares and not (self.request.limits.against or self.request.tags or target.tags):
                raise UsageError(
                    f"there is no image to compare `{target.name}` with for `--max-growth`",
                    at=target.position,
                    hint="name this one with -t, or another one with --against",
                )
            if self.packer is not None:
                from buildkit_py.image.layer_count import check_count

                check_count(_count_layers(target.step), at=target.position)
            if not target.host:
                continue
            if self.packer is not None:
                raise ExportError(
                    f"`{target.name}` stands on this machine's own root filesystem and cannot become an image",
                    at=target.position,
                    hint="copy what it made into a target that starts from a real base image or from scratch",
                )
            if any(output.kind in ("local", "tar") for output in self._outputs):
                raise ExportError(
                    f"`{target.name}` stands on this machine's own root filesystem, which is not copied out",
                    at=target.position,
                    hint="copy what it made into scratch() and write that out",
                )

    def refuse(self, target: Target, repaired: Step) -> None:
        """Raise `ExportError` if something of a target would be written out, of which a step or a test was repaired."""
        if self.packer is None and not target.outputs and all(one.kind == "cacheonly" for one in self._outputs):
            return
        tests = isinstance(repaired.op, Run) and repaired.op.test
        raise ExportError(
            f"`{target.name}` {'waits for' if tests else 'stands on'} `{repaired.name}`, which was repaired by hand, "
            "and is not written out",
            at=repaired.position,
            hint="mend the Buildfile, and build again",
        )

    def target(self, target: Target, result: Result | None, *, alone: bool) -> TargetResult:
        """Write one target out. `alone`: it is the only one, so outputs go where they say and not below."""
        snapshot = result.snapshot if result is not None else ""
        tags = tuple(_full(tag) for tag in (*(self.request.tags if alone else ()), *target.tags))
        if not self.request.written:
            tags = ()
        digest = ""
        if self.packer is not None:
            digest = self._image(target, snapshot, self.packer)
            if self.request.limits.any:
                self._hold_size(digest, tags)  # before it has its name: the next build is compared with that
            self._name(digest, tags)
        # What there is to say of the result is what others can have of it: what a registry has, else an archive.
        said, weight = (digest, tags), 0
        for output in self._outputs:
            exported = self._write(output, target, snapshot, digest, tags, alone)
            if exported is not None and (mine := 1 + (output.kind in ("registry", "image"))) >= weight:
                said, weight = exported, mine
        for placed in target.outputs if self.request.written else ():
            try:
                self._place(placed.source, placed.dest, snapshot)
            except PybuildError as problem:
                problem.place(placed.position)
                raise
        digest, tags = said
        return TargetResult(target.name, snapshot, digest, tags, config=target.config, document=_document(target))

    def metadata(self, results: Sequence[TargetResult]) -> None:
        """Write the files that the command line asked for about what was built."""
        if self.request.iidfile:
            self._write_file(self.request.iidfile, "\n".join(one.image for one in results))
        if self.request.metadata_file:
            import json

            data = {one.name: self._about(one) for one in results}
            first = next(iter(data.values())) if len(data) == 1 else data
            self._write_file(self.request.metadata_file, json.dumps(first, indent=2) + "\n")

    def _write_file(self, path: str, text: str) -> None:
        from buildkit_py.exporter.sink import Sink

        with Sink(path) as sink:
            sink.write(text.encode("utf-8", "surrogateescape"))
        self.witness.written(path)

    # -- images

    def _name(self, digest: str, names: Sequence[str]) -> None:
        images = self.session.store.images
        for name in names:
            images.set(name, digest)
            self.witness.name(images.path(name), digest)

    def _hold_size(self, digest: str, names: Sequence[str]) -> None:
        """Hold an image against the limits of its size. Raises `SizeExceeded`."""
        from buildkit_py.api.opened import open_image
        from buildkit_py.api.size_limit import check_size, other_image

        limits = self.request.limits
        before = None
        if limits.compares:
            name = names[0] if names else ""
            before = other_image(self.session, limits, name)
            if limits.against:
                self.witness.impure("another image was looked at")
            if before is None:
                self.emit(Notice("info", f"there is no image `{name}` yet, so nothing that this one could outgrow"))
        check_size(limits, open_image(self.session, digest).size, before, digest)

    def _image(self, target: Target, snapshot: str, packer: Packer, output: Output | None = None) -> str:
        from buildkit_py.exporter.image import Built, make_image, timestamp

        store = self.session.store
        layers = store.snapshots.layers(snapshot)
        metas = tuple([store.layers.get(layer) for layer in layers])
        inherited = target.history[: target.inherited]
        own = target.history[target.inherited :]
        created = next((entry.created for entry in reversed(inherited) if entry.created), "")
        history = list(inherited)
        # From the top: what a base image says of its own layers need not be complete.
        remaining = iter(metas[len(layers) - sum(not entry.empty_layer for entry in own) :])
        for entry in own:
            if not entry.empty_layer:
                meta = next(remaining)
                created = timestamp(meta.created) if meta is not None and meta.created else created
            history.append(entry.replace(created=created))
        built = Built(
            config=target.config,
            history=tuple(history),
            platform=target.platform,
            layers=layers,
            author=target.author,
            created=created,
            labels=self.request.labels,
            inherited=len(inherited),
            epoch=self.epoch,
            metas=metas,
        )
        return make_image(store, built, packer.blob, docker_types=output is not None and output.docker_types)

    def _image_for(self, output: Output, target: Target, snapshot: str, digest: str) -> str:
        """The image as this output wants it packed; the build's own where that is the same."""
        if not (output.compression or output.level or output.force or output.docker_types):
            return digest
        if output.compression:
            compression = PACKED_AS[output.compression]
        elif output.docker_types:
            compression = "gzip"
        else:
            compression = PACKED_AS[self.request.compression or self.session.config.compression]
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
    ) -> tuple[str, tuple[str, ...]] | None:
        """Write one output; the digest and the names of the image as it is there, None for what is none."""
        began = self.session.clock()
        dest = output.dest
        if not alone and dest not in ("", "-"):
            dest = os.path.join(dest, target.name)
        names = tuple(output.names) or tuple(tags)
        match output.kind:
            case "cacheonly":
                return None
            case "image":
                digest = self._image_for(output, target, snapshot, digest)
                self._name(digest, names)
                return digest, names
            case "local":
                self._local(self._trees(snapshot), dest)
                self.witness.impure("a directory was written")
            case "tar":
                from buildkit_py.exporter.tar import export_tar

                export_tar(self._trees(snapshot), dest, epoch=self.epoch)
                self._written(dest)
            case "oci" | "docker":
                digest = self._image_for(output, target, snapshot, digest)
                self._archive(output, dest, digest, names)
                self._written("" if output.directory else dest)
            case _:
                digest = self._image_for(output, target, snapshot, digest)
                self._push(digest, names)
                self.witness.impure("an image was pushed")
        self.emit(Exported(output.kind, dest or ", ".join(names), digest, self.session.clock() - began))
        return (digest, names) if output.kind in _IMAGES else None

    def _written(self, dest: str) -> None:
        """Note an output: a file, or what is none and cannot be told from a changed one by its stamp."""
        if dest and os.path.isfile(dest):
            self.witness.written(dest)
        else:
            self.witness.impure("an output is no file")

    def _archive(self, output: Output, dest: str, digest: str, names: Sequence[str]) -> None:
        from buildkit_py.exporter.docker import export_docker
        from buildkit_py.exporter.image import load
        from buildkit_py.exporter.oci import export_oci

        image = load(self.session.store, digest)
        self._fetch(image)
        write = export_oci if output.kind == "oci" else export_docker
        write(
            self.session.store,
            image,
            dest,
            names=names,
            directory=output.directory,
        )

    def _fetch(self, image: Image) -> None:
        """Get the blobs of base layers that nothing has needed until now, and see that they are what they claim."""
        from buildkit_py.registry.tar_digest import is_proved

        for layer, diff_id in zip(image.manifest.layers, image.document.diff_ids, strict=True):
            if not is_proved(self.session.store, id := diff_id.removeprefix("sha256:"), layer.digest):
                self.session.fetcher().vouch(id, layer.digest)

    def _push(self, digest: str, names: Sequence[str]) -> None:
        from buildkit_py.exporter.registry import export_registry

        export_registry(self.session.store, self.session.client(), digest, names)

    def _trees(self, snapshot: str) -> tuple[str, ...]:
        from buildkit_py.exporter.image import refuse_impure

        layers = self.session.store.snapshots.layers(snapshot)
        refuse_impure(map(self.session.store.layers.get, layers))
        return self.session.materializer().trees(layers).directories

    def _local(self, trees: Sequence[str], dest: str) -> None:
        from buildkit_py.exporter.local import export_local

        copied = export_local(trees, dest, epoch=self.epoch, privileged=self.session.identity.privileged)
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

        base = self.request.context or os.path.dirname(self.request.file) or os.getcwd()
        layers = self.session.store.snapshots.layers(snapshot)
        trees = self.session.materializer().trees(layers)
        began = self.session.clock()
        for path in place(trees.roots, source, base, dest, privileged=self.session.identity.privileged):
            self.witness.written(path)
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


def _count_layers(step: Step | None) -> int:
    """How many layers the filesystem of a step has."""
    layers = 0
    while step is not None:
        layers += len(step.op.layers) if isinstance(step.op, ImageSource) else 1
        step = step.base
    return layers


def _document(target: Target) -> ImageDocument:
    from buildkit_py.image import platform
    from buildkit_py.image.config import ImageDocument

    on = platform.parse(target.platform)
    return ImageDocument(
        on.architecture, on.os, target.config, history=target.history, variant=on.variant, author=target.author
    )


def _full(tag: str) -> str:
    from buildkit_py.image import reference

    return str(reference.parse(tag))


def pushes(outputs: Sequence[OutputSpec]) -> bool:
    """Whether one of these outputs sends an image to a registry. Raises `UsageError` for one that is wrong."""
    if not outputs:
        return False
    from buildkit_py.exporter.output import check

    return any(check(spec.kind, spec.dest, spec.attributes).kind == "registry" for spec in outputs)


def wants_image(outputs: Sequence[OutputSpec]) -> bool:
    """Whether one of these outputs is an image."""
    return any(output.kind in _IMAGES for output in outputs)


def load_exporter() -> None:
    """What writes an image, and its name: loaded while there is time."""
    try:
        import buildkit_py.exporter.image
        import buildkit_py.image.reference
        import buildkit_py.store.images  # noqa: F401
    except Exception:  # pybuild itself is being replaced, or cannot be read
        return  # who needs it says so
