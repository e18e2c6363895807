"""`pybuild build -q` prints a digest that can be run, as docker's does, and the environment's epoch reaches an ARG."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour.world import World


def test_what_it_prints_can_be_run(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": 'FROM busybox\nRUN echo made > /file\nCMD ["cat", "/file"]\n'})
    digest = world.run("build", "-q", "--build-context", f"busybox=oci-layout://{base_layout}", ".").stdout.strip()
    assert digest.startswith("sha256:")
    assert world.run("run", digest).stdout == "made\n"


def test_a_target_on_the_host_has_no_image_and_says_what_it_has(world: World) -> None:
    world.write({"Dockerfile": "FROM host://\nRUN true\n"})
    assert not world.run("build", "-q", ".").stdout.startswith("sha256:")


def test_the_epoch_of_the_environment_reaches_an_arg(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /epoch\n"})
    arguments = ("-o", "out", "--build-context", f"busybox=oci-layout://{base_layout}")
    world.build(*arguments, SOURCE_DATE_EPOCH="1234")
    assert (world.project / "out" / "epoch").read_text() == "1234\n"
    world.build(*arguments, "--build-arg", "SOURCE_DATE_EPOCH=5678", SOURCE_DATE_EPOCH="1234")
    assert (world.project / "out" / "epoch").read_text() == "5678\n"
