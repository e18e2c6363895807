"""What is written out: what cannot be is refused before anything is built, and names, devices and levels are obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.registry_server import registry_server

SCRATCH = "FROM scratch AS one\nCOPY f /f\nFROM scratch AS two\nCOPY f /g\n"


@pytest.fixture
def project(world: World) -> World:
    world.write({"f": "f\n" * 4000, "Dockerfile": SCRATCH})
    return world


@pytest.mark.parametrize("push", ["", ",push=false"])
def test_an_image_output_names_the_image_and_pushes_nothing(project: World, push: str) -> None:
    project.build("-o", f"type=image,name=registry.invalid/a:1{push}")
    assert "registry.invalid/a:1" in project.run("images").stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("-t", "x"), "`-t` names one image"),
        (("-o", "type=oci,dest=-"), "standard output"),
        (("-o", "-"), "standard output"),
    ],
)
def test_several_targets_and_one_place(project: World, argv: tuple[str, ...], message: str) -> None:
    done = project.run("Dockerfile", "one", "two", "--progress=plain", *argv, ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "DONE" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("argv", [("-o", "out"), ("-o", "type=tar,dest=x.tar"), ("-t", "x")])
def test_the_host_is_not_written_out_and_nothing_is_run_for_it(world: World, argv: tuple[str, ...]) -> None:
    world.write({"Dockerfile": "FROM host://\nRUN touch /ran\n"})
    done = world.build(*argv, ok=False)
    assert "stands on this machine's own root filesystem" in done.stderr
    assert "DONE" not in done.stderr


def test_files_about_the_build_may_be_devices_and_links(project: World) -> None:
    device = project.project / "null"
    device.symlink_to("/dev/null")
    (project.project / "link").symlink_to("real")
    project.build("--iidfile", "null", "--metadata-file", "link")
    assert device.is_symlink()
    assert (project.project / "link").is_symlink()
    assert json.loads((project.project / "real").read_text())["containerimage.digest"].startswith("sha256:")


def test_the_metadata_is_that_of_the_image(project: World) -> None:
    written = ("--iidfile", "id", "--metadata-file", "about", "-o", "type=oci,tar=false,dest=layout")
    project.build("-t", "x:1", "-t", "y", *written)
    (named, again) = json.loads((project.project / "layout/index.json").read_text())["manifests"]
    digest = named["digest"]
    manifest = (project.project / "layout/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert json.loads((project.project / "about").read_text()) == {
        "containerimage.digest": digest,
        "containerimage.config.digest": json.loads(manifest)["config"]["digest"],
        "containerimage.descriptor": {"mediaType": named["mediaType"], "digest": digest, "size": len(manifest)},
        "image.name": "docker.io/library/x:1,docker.io/library/y:latest",
    }
    assert (project.project / "id").read_text() == again["digest"] == digest


@pytest.mark.parametrize("attribute", ["compression-level=19", "compression=gzip", "compression=uncompressed"])
def test_an_output_is_packed_as_it_says(project: World, attribute: str) -> None:
    digests = []
    for number, more in enumerate(["", f",{attribute}"]):
        project.build("-o", f"type=oci,tar=false,dest=layout{number}{more}")
        index = json.loads((project.project / f"layout{number}/index.json").read_text())
        digests.append(index["manifests"][0]["digest"])
    assert digests[0] != digests[1]


def test_a_layout_keeps_images_of_other_names_and_caches(project: World) -> None:
    def names() -> list[str]:
        entries = json.loads((project.project / "layout/index.json").read_text())["manifests"]
        return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]

    project.build("--target=one", "--cache-to=type=local,dest=layout")
    (cache,) = names()
    for target, name in (("one", "a:1"), ("two", "b:2"), ("two", "a:1")):
        project.build(f"--target={target}", "-o", f"type=oci,tar=false,dest=layout,name={name}")
    assert names() == [cache, "2", "1"]
    home = str(project.top / "other")
    done = project.build("--target=one", "--cache-from=type=local,src=layout", PYBUILD_HOME=home)
    assert project.ran(done) == []
    (project.project / "layout/index.json").write_text("{")
    done = project.build("-o", "type=oci,tar=false,dest=layout,name=c:3", ok=False)
    assert (done.returncode, "is a layout already" in done.stderr) == (7, True)


def test_what_is_said_of_an_image_is_what_the_registry_has(project: World, tmp_path: Path) -> None:
    need("docker-registry")
    with registry_server(tmp_path) as registry:
        written = ("--iidfile", "id", "--metadata-file", "about")
        output = f"type=registry,name={registry}/there:1,compression=gzip,force-compression=true"
        project.build("--target=one", "-t", "here:1", "-o", output, *written)
        about = json.loads((project.project / "about").read_text())
        assert about["image.name"] == f"{registry}/there:1"
        assert (project.project / "id").read_text() == about["containerimage.digest"]
        project.run("pull", f"{registry}/there@{about['containerimage.digest']}", PYBUILD_HOME=str(project.top / "new"))
