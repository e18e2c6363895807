"""Images of the local store: listing, looking into and naming them."""

from __future__ import annotations

from buildkit_py.errors import ImageNotFound, StoreError, UsageError
from buildkit_py.exporter.image import load
from buildkit_py.image import document as config_json
from buildkit_py.image import reference
from buildkit_py.record import Record
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# As git has it for commits: shorter beginnings of a digest are more likely a mistake than a name.
_SHORTEST = 4


class ImageSummary(Record):
    """A name of the store and what it stands for. `digest` is the manifest's, `id` the config's.

    `platform` is "damaged", and the rest empty, where the store no longer has the image whole.
    `size` is that of the compressed layers; `created` is RFC 3339, "" where the image does not say.
    """

    name: str
    digest: str
    id: str
    created: str
    size: int
    platform: str

    @property
    def familiar(self) -> str:
        """The name as a person would write it."""
        return reference.parse(self.name).familiar


class Found(Record):
    """An image of the store; `name` is "" where it was asked for by digest and has none or several."""

    name: str
    digest: str


def list_images(store: str = "") -> tuple[ImageSummary, ...]:
    """Every name with its image, newest first. `store` is the store's directory, "" for the usual one."""
    opened = Store.open(store)
    summaries = [_summary(opened, name, digest) for name, digest, _ in opened.images.all()]
    return tuple(sorted(summaries, key=lambda image: (image.created, image.name), reverse=True))


def find(text: str, store: str = "") -> Found:
    """The image that a name, a digest or the beginning of a digest or of an image's id stands for.

    Raises `ImageNotFound`, and `UsageError` for what is no name or begins several digests.
    """
    return _find(Store.open(store), text)


def inspect(text: str, store: str = "") -> dict[str, Any]:
    """An image as JSON members in the shape of `docker image inspect`. Raises as `find` does."""
    opened = Store.open(store)
    found = _find(opened, text)
    image = load(opened, found.digest)
    manifest, document = image.manifest, image.document
    names = [name for name, digest, _ in opened.images.all() if digest == found.digest]
    parsed = [reference.parse(name) for name in names]
    return {
        "Id": manifest.config.digest,
        "Digest": found.digest,
        "RepoTags": sorted(one.familiar if one.tag != "latest" else f"{one.familiar}:latest" for one in parsed),
        "RepoDigests": sorted({f"{one.name}@{found.digest}" for one in parsed}),
        "Created": document.created,
        "Author": document.author,
        "Config": config_json.config_object(document.config),
        "Architecture": document.architecture,
        "Variant": document.variant,
        "Os": document.os,
        "Size": sum(layer.size for layer in manifest.layers),
        "RootFS": {"Type": "layers", "Layers": list(document.diff_ids)},
        "Manifest": {
            "MediaType": manifest.media_type,
            "Layers": [
                {"MediaType": layer.media_type, "Digest": layer.digest, "Size": layer.size} for layer in manifest.layers
            ],
        },
    }


def history(text: str, store: str = "") -> tuple[dict[str, Any], ...]:
    """An image's instructions, newest first: `created`, `created_by`, `size` (of the layer's blob), `empty_layer`,
    `comment`. Raises as `find` does.
    """
    opened = Store.open(store)
    image = load(opened, _find(opened, text).digest)
    sizes = iter(image.manifest.layers)
    entries = []
    for entry in image.document.history:
        layer = None if entry.empty_layer else next(sizes, None)
        entries.append(
            {
                "created": entry.created,
                "created_by": entry.created_by,
                "size": layer.size if layer is not None else 0,
                "empty_layer": entry.empty_layer,
                "comment": entry.comment,
            }
        )
    return tuple(reversed(entries))


def tag(text: str, name: str, store: str = "") -> None:
    """Give an image another name, which whatever had it loses. Raises as `find` does."""
    opened = Store.open(store)
    target = reference.parse(name)
    if target.digest:
        raise UsageError(f"`{name}` has a digest and can be no new name of an image")
    opened.images.set(str(target), _find(opened, text).digest)


def remove(text: str, store: str = "") -> bool:
    """Remove a name; whether it was there. An image stays as long as it has another one."""
    return Store.open(store).images.delete(str(reference.parse(text)))


def _summary(store: Store, name: str, digest: str) -> ImageSummary:
    try:
        image = load(store, digest)
    except StoreError:
        # One damaged image must not hide the others, and can be removed only by one who sees it.
        return ImageSummary(name, digest, "", "", 0, "damaged")
    document = image.document
    platform = "/".join(part for part in (document.os, document.architecture, document.variant) if part)
    size = sum(layer.size for layer in image.manifest.layers)
    return ImageSummary(name, digest, image.manifest.config.digest, document.created, size, platform)


def _find(store: Store, text: str) -> Found:
    beginning = text.removeprefix("sha256:")
    if not text.startswith("sha256:"):
        try:
            name = str(reference.parse(text))
        except UsageError:
            if len(beginning) != 64:
                raise
        else:
            digest = store.images.get(name)
            if digest is not None:
                return Found(name, digest)
    is_hex = len(beginning) >= _SHORTEST and not beginning.strip("0123456789abcdef")
    if len(beginning) == 64 and is_hex and store.blobs.has(f"sha256:{beginning}"):
        return _named(store, _manifest_of(store, f"sha256:{beginning}"))
    if is_hex:
        matches = {
            image.digest
            for image in (_summary(store, name, digest) for name, digest, _ in store.images.all())
            if image.digest[7:].startswith(beginning) or image.id[7:].startswith(beginning)
        }
        if len(matches) > 1:
            raise UsageError(f"`{text}` begins the digests of {len(matches)} images", hint="write more of it")
        if matches:
            return _named(store, matches.pop())
    raise ImageNotFound(f"there is no image `{text}` in the store", hint=_hint(store, text))


def _manifest_of(store: Store, digest: str) -> str:
    """The digest itself, or that of the image whose config it is (what docker calls its id)."""
    for _, manifest, _ in store.images.all():
        if manifest != digest and _summary(store, "", manifest).id == digest:
            return manifest
    return digest


def _named(store: Store, digest: str) -> Found:
    names = [name for name, image, _ in store.images.all() if image == digest]
    return Found(names[0] if len(names) == 1 else "", digest)


def _hint(store: Store, text: str) -> str:
    from difflib import get_close_matches

    if any(about.name == text for about in store.containers.all()):
        return f"`{text}` is a container: `pybuild ps --json` tells of it"
    names = {reference.parse(name).familiar for name, _, _ in store.images.all()}
    near = get_close_matches(text, sorted(names), 1, 0.6)
    return f"did you mean `{near[0]}`?" if near else "`pybuild images` lists those that are, `pybuild pull` fetches"
