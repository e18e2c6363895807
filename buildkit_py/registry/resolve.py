"""Resolving: from an image's name to its manifest digest, layers and config, without downloading a layer.

The local store answers first, unless a fresh look is asked for; then mirrors
and the registry. What a registry answered is named in the store, so the next
build needs no network and the same name means the same image until someone
pulls. `oci-layout://` and `docker-archive://` are read anew each time: they
are local, and change under their name.
"""

from __future__ import annotations

from _thread import allocate_lock

from buildkit_py.digest import is_sha256
from buildkit_py.errors import ImageNotFound, PybuildError, SourceError, StoreError, UsageError
from buildkit_py.image import document, manifest, platform, reference
from buildkit_py.image.config import ImageDocument
from buildkit_py.image.document import MAX_CONFIG
from buildkit_py.image.manifest import MAX_MANIFEST, Descriptor, Manifest
from buildkit_py.image.platform import Platform
from buildkit_py.image.reference import Reference
from buildkit_py.record import Record
from buildkit_py.registry.origin import Origin
from buildkit_py.registry.pull import Chosen, choose, is_noted, keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.registry.client import Client
    from buildkit_py.store.store import Store

OCI_LAYOUT = "oci-layout://"
DOCKER_ARCHIVE = "docker-archive://"
DOCKER_IMAGE = "docker-image://"


class ResolvedImage(Record):
    """What a reference stands for. `layers` are ids of layers in the store, lowest first.

    `index` is the digest by which its registry gave it just now, of all platforms together where there are several;
    "" where no registry was asked.
    """

    reference: str
    digest: str
    platform: str
    layers: tuple[str, ...]
    document: ImageDocument
    index: str = ""


class ImageResolver:
    """Resolves for one build: a name means one image from its beginning to its end. Shared by threads.

    `client` is called when a registry is to be asked: a client's HTTP takes longer to load than a build with
    nothing to do takes.
    """

    def __init__(self, store: Store, client: Callable[[], Client]) -> None:
        self._store = store
        self._client = client
        self._lock = allocate_lock()
        self._known: dict[tuple[str, str, bool, bool], ResolvedImage] = {}

    def resolve(
        self, text: str, wanted: str = "", position: object = None, *, pull: bool = False, exact: bool = False
    ) -> ResolvedImage:
        """The image that a reference names, for a platform ("" is this machine's).

        `pull` asks the registry even where the store knows the name; `exact` takes no
        image of a single platform that is another one. Raises `ImageNotFound`,
        `RegistryError`, `DigestMismatch` and other `SourceError`s with `at=position`.
        """
        key = (text, wanted, pull, exact)
        with self._lock:
            found = self._known.get(key)
            if found is None:
                try:
                    target = platform.parse(wanted) if wanted else platform.local()
                    found = self._resolve(text.removeprefix(DOCKER_IMAGE), target, pull, exact)
                except SourceError as problem:
                    raise _placed(problem, text, position) from problem
                except UsageError as problem:
                    raise ImageNotFound(problem.message, at=position, hint=problem.hint) from problem
                self._known[key] = found
            return found

    def _resolve(self, text: str, wanted: Platform, pull: bool, exact: bool) -> ResolvedImage:
        if text.startswith(OCI_LAYOUT):
            return self._from_layout(text, wanted)
        if text.startswith(DOCKER_ARCHIVE):
            return self._from_archive(text, wanted)
        name = reference.parse(text)
        if not pull:
            local = load_image(self._store, str(name), wanted)
            if local is not None:
                return local
        return self._from_registry(name, wanted, exact)

    def _from_registry(self, name: Reference, wanted: Platform, exact: bool) -> ResolvedImage:
        client = self._client()

        def read_manifest(descriptor: Descriptor) -> bytes:
            # By digest from here on: a tag may move between two requests.
            return client.manifest(name.replace(tag="", digest=descriptor.digest)).data

        def read_blob(descriptor: Descriptor) -> bytes:
            if self._store.blobs.has(descriptor.digest):
                return self._store.blobs.read(descriptor.digest)
            return client.small_blob(name, descriptor.digest, MAX_CONFIG, "image config")

        first = client.manifest(name)
        chosen = choose(first, wanted, read_manifest, read_blob)
        found = _resolved(str(name), chosen, wanted)
        if exact and platform.best(wanted, (platform.of_image(chosen.document, wanted),)) is None:
            raise ImageNotFound(
                f"the image is not there for {wanted}", notes=(f"it is there for {found.platform} only",)
            )
        keep(
            self._store,
            chosen,
            lambda layer: Origin(layer.digest, layer.size, layer.media_type, name.name),
        )
        self._store.images.set(str(name), chosen.digest, self._others(found))
        return found.replace(index=first.digest)

    def _others(self, chosen: ResolvedImage) -> tuple[str, ...]:
        """The manifests that a name stands for here on other platforms than that of the one that was chosen now.

        They stay: of a file that uses the name for two platforms each would else take it from the other.
        """
        known = [load_image(self._store, digest) for digest in self._store.images.manifests(chosen.reference)]
        return tuple(image.digest for image in known if image is not None and image.platform != chosen.platform)

    def _from_layout(self, text: str, wanted: Platform) -> ResolvedImage:
        from buildkit_py.registry import oci_layout

        address = oci_layout.parse_address(text.removeprefix(OCI_LAYOUT))
        layout = oci_layout.Layout(address.path)
        chosen = choose(
            layout.first(address),
            wanted,
            lambda descriptor: layout.read(descriptor, MAX_MANIFEST),
            lambda descriptor: layout.read(descriptor, MAX_CONFIG),
        )
        keep(self._store, chosen, layout.origin)
        return _resolved(text, chosen, wanted)

    def _from_archive(self, text: str, wanted: Platform) -> ResolvedImage:
        from buildkit_py.registry import docker_archive

        path, name = docker_archive.parse_address(text.removeprefix(DOCKER_ARCHIVE))
        archive = docker_archive.Archive(path)
        chosen = archive.image(name)
        keep(self._store, chosen, archive.origin)
        return _resolved(text, chosen, wanted)


def load_image(store: Store, name: str, wanted: Platform | None = None) -> ResolvedImage | None:
    """The image of that full name (or manifest digest) in the store, None unless it is whole and for that platform.

    Without a platform it is what the name was given to last. An image that was
    built here has its layers under the ids of a build; they become known under
    their diff_ids too, as every image's layers are.
    """
    digests = (name,) if is_sha256(name) else store.images.manifests(name)
    for digest in digests if wanted is not None else digests[:1]:
        found = _load_manifest(store, name, digest, wanted)
        if found is not None:
            return found
    return None


def _load_manifest(store: Store, name: str, digest: str, wanted: Platform | None) -> ResolvedImage | None:
    if not store.blobs.has(digest):
        return None
    try:
        data = store.blobs.read(digest)
        found = manifest.parse(data)
        if not isinstance(found, Manifest) or not store.blobs.has(found.config.digest):
            return None
        config_data = store.blobs.read(found.config.digest)
        chosen = Chosen(digest, found, data, document.load(config_data), config_data)
    except (SourceError, StoreError):
        return None  # damaged: to be had anew from where it came
    if wanted is not None and platform.best(wanted, (platform.of_image(chosen.document, wanted),)) is None:
        return None
    pairs = list(zip(chosen.document.diff_ids, found.layers, strict=False))
    if len(pairs) != len(found.layers) or len(pairs) != len(chosen.document.diff_ids):
        return None
    missing = [(diff_id, layer) for diff_id, layer in pairs if not is_noted(store, diff_id)]
    if not all(store.blobs.has(layer.digest) for _, layer in missing):
        return None
    if missing:
        keep(store, chosen, lambda layer: None)
    return _resolved(name, chosen, wanted)


def _resolved(name: str, chosen: Chosen, wanted: Platform | None) -> ResolvedImage:
    on = platform.of_image(chosen.document, wanted)
    layers = tuple(diff_id.removeprefix("sha256:") for diff_id in chosen.document.diff_ids)
    return ResolvedImage(name, chosen.digest, str(on), layers, chosen.document)


def _placed(problem: SourceError, text: str, position: object) -> PybuildError:
    """The same failure at the place that asked for the image; the address where it happened becomes a note."""
    kinds = (known for known in type(problem).__mro__ if known.__module__ == SourceError.__module__)
    kind: type[PybuildError] = next(kinds)  # the family of errors.py that the failure belongs to
    notes = problem.notes if problem.at is None else (f"at {problem.at}", *problem.notes)
    message = problem.message if reference.familiar(text) in problem.message else f"`{text}`: {problem.message}"
    return kind(message, at=position, hint=problem.hint, notes=notes)
