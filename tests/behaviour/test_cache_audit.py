"""`pybuild cache audit`: who made each layer of an image, on which machine, and whose signature says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.test_cache_trust import Trusting
from tests.behaviour.test_portable_cache import DOCKERFILE
from tests.behaviour.world import World

RUN = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "team/shop", "GITHUB_RUN_ID": "7"}


class Auditing(Trusting):
    def layers(self, machine: str, **env: str) -> list[dict[str, Any]]:
        """The layers of `shop` as a machine's store has it."""
        done = self.world.run("cache", "audit", "shop", "--json", PYBUILD_HOME=self.home(machine), **env)
        found = json.loads(done.stdout)
        assert found["name"] == "docker.io/library/shop:latest"
        image = json.loads(self.world.run("inspect", "shop", PYBUILD_HOME=self.home(machine)).stdout)
        image = image[0] if isinstance(image, list) else image
        assert found["digest"] == image["Digest"]
        assert [one["digest"] for one in found["layers"]] == [one["Digest"] for one in image["Manifest"]["Layers"]]
        layers: list[dict[str, Any]] = found["layers"]
        return layers

    def text(self, machine: str, **env: str) -> list[str]:
        return self.world.run("cache", "audit", "shop", PYBUILD_HOME=self.home(machine), **env).stdout.splitlines()

    def home(self, machine: str) -> str:
        return str(self.world.top / machine)


@pytest.fixture
def machines(world: World, base_layout: Path) -> Auditing:
    return Auditing(world, base_layout)


def origins(layers: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["origin"], one["trust"], one["signature"]) for one in layers]


def test_what_this_machine_made_stands_on_a_base_image(machines: Auditing) -> None:
    machines.build("one", "-t", "shop")
    base, *made = machines.layers("one")
    assert base["origin"] == "base"
    name, _, digest = base["base"].rpartition("@")
    assert name.startswith("oci-layout://")
    assert digest.startswith("sha256:")
    assert origins(made) == [("here", "", "")] * 3
    assert {one["maker"] for one in made} == {os.uname().nodename}
    assert ["tools" in one["step"] for one in made] == [True, False, False]
    assert all(one["created"].endswith("Z") for one in made)
    heads, first, *rest = machines.text("one")
    assert heads.split() == ["LAYER", "CREATED", "MADE", "BY", "KEY", "ON", "STEP"]
    assert "base image " in first
    assert f" {name}@{digest[:19]} " in first
    assert all("this machine" in line and "ago" in line for line in rest)


def test_an_image_that_others_begin_with_is_not_its_own_base(machines: Auditing) -> None:
    machines.build("one", "-t", "shop")
    before = machines.layers("one")
    machines.world.write({"Dockerfile": "FROM shop\nRUN echo more > /more\n"})
    machines.build("one", "-t", "above")
    assert machines.layers("one") == before
    assert origins(before[1:]) == [("here", "", "")] * 3


def test_what_main_made_is_told_with_its_key_and_run(machines: Auditing) -> None:
    machines.build("main", machines.to, **machines.main, **RUN)
    machines.world.write({"Dockerfile": DOCKERFILE + "RUN echo mine > /mine\n"})
    machines.build("reader", machines.trusted, "-t", "shop")
    base, *main, mine = machines.layers("reader")
    assert base["origin"] == "base"
    assert origins(main) == [("cache", "main", "right")] * 3
    assert {one["key"] for one in main} == {machines.keys["main"]}
    assert {one["maker"] for one in main} == {"https://github.com/team/shop/actions/runs/7"}
    assert origins([mine]) == [("here", "", "")]
    # Who has no name for the key is told the key.
    stranger = machines.layers("reader", PYBUILD_TRUST="")
    assert origins(stranger[1:-1]) == [("cache", "", "right")] * 3
    lines = machines.text("reader")
    short = machines.keys["main"][:16]
    assert all(" main  " in line and short in line and "runs/7" in line for line in lines[2:5])


def test_what_nobody_signed_is_told(machines: Auditing) -> None:
    machines.build("one", machines.to)
    machines.build("reader", machines.source, "-t", "shop")
    assert origins(machines.layers("reader")[1:]) == [("cache", "", "none")] * 3
    assert all("another: not signed" in line for line in machines.text("reader")[2:])


def test_a_secret_tells_who_has_it(machines: Auditing) -> None:
    machines.build("one", machines.to, PYBUILD_CACHE_KEY="hunter2")
    machines.build("reader", machines.source, "-t", "shop", PYBUILD_CACHE_KEY="hunter2")
    assert origins(machines.layers("reader", PYBUILD_CACHE_KEY="hunter2")[1:]) == [("cache", "", "right")] * 3
    for env in ({}, {"PYBUILD_CACHE_KEY": "other"}):
        assert origins(machines.layers("reader", **env)[1:]) == [("cache", "", "unchecked")] * 3
    assert all("a secret that is not here" in line for line in machines.text("reader")[2:])
    for argv in (("cache", "audit", "shop"), ("cache", "audit", "shop", "--json")):
        done = machines.world.run(*argv, PYBUILD_HOME=machines.home("reader"), PYBUILD_CACHE_KEY="hunter2")
        assert "hunter2" not in done.stdout + done.stderr


def test_a_step_that_was_found_by_its_content_is_still_its_makers(machines: Auditing) -> None:
    text = DOCKERFILE.replace("; head -c 3000 /dev/urandom > /unique", "; head -c 1 /src/a.txt > /unique")
    machines.world.write({"Dockerfile": text})
    machines.build("main", machines.to, **machines.main)
    machines.world.write({"src/a.txt": "a, and what nobody takes\n"})
    machines.build("reader", machines.trusted, "-t", "shop")
    assert origins(machines.layers("reader")[1:]) == [("cache", "main", "right")] * 3


def test_what_is_tampered_with_in_the_store_is_told(machines: Auditing) -> None:
    """The store is believed by builds; the audit looks again."""
    from buildkit_py.store.store import Store

    if machines.world.mode == "user":
        pytest.skip("needs no second user")
    machines.build("main", machines.to, **machines.main)
    machines.build("reader", machines.trusted, "-t", "shop")
    store = Store.open(machines.home("reader"))
    for key in list(store.records.names()):
        record = store.records.read(key)
        if record is not None and record.signature:
            store.records.put(key, record.replace(maker="https://github.com/team/shop/actions/runs/8"))
    assert origins(machines.layers("reader")[1:]) == [("cache", "main", "wrong")] * 3
    assert all("the signature is WRONG" in line for line in machines.text("reader")[2:])


def test_steps_that_wrote_the_same_are_told_apart(machines: Auditing) -> None:
    """All that write nothing have one blob: the step counts that this image was made by."""
    world = machines.world
    text = "FROM busybox\nRUN echo y > /y\nRUN true\nRUN test -f /y\n"
    for project, name in (("FROM busybox\nRUN echo unrelated; true\n", "other"), (text, "shop")):
        world.write({"Dockerfile": project})
        machines.build("one", "-t", name)
    assert [one["step"].partition("] ")[2] for one in machines.layers("one")[1:]] == [
        "RUN echo y > /y",
        "RUN true",
        "RUN test -f /y",
    ]


def test_layers_whose_records_are_gone_are_unknown(machines: Auditing) -> None:
    machines.build("one", "-t", "shop")
    for path in (machines.world.top / "one/records").rglob("*"):
        if path.is_file():
            path.unlink()
    base, *made = machines.layers("one")
    assert base["origin"] == "base"
    assert origins(made) == [("unknown", "", "")] * 3
    assert ["tools" in one["step"] for one in made] == [True, False, False]  # as the image's history has it
    assert all("(unknown)" in line for line in machines.text("one")[2:])


def test_other_compression_is_the_same_layer(machines: Auditing) -> None:
    machines.build("main", machines.to, **machines.main)
    machines.build(
        "reader", machines.trusted, "-t", "shop", "--output", "type=image,compression=gzip,force-compression=true"
    )
    assert origins(machines.layers("reader")[1:]) == [("cache", "main", "right")] * 3


def test_mistakes(machines: Auditing) -> None:
    done = machines.world.run("cache", "audit", "none-such", ok=False)
    assert done.returncode == 4
    assert "there is no image `none-such` in the store" in done.stderr
    for argv, code in ((("audit",), 2), (("audit", "a", "b"), 2), (("audit", "a", "--all"), 2)):
        assert machines.world.run("cache", *argv, ok=False).returncode == code
    machines.build("main", machines.to, **machines.main)
    machines.build("reader", machines.trusted, "-t", "shop")
    machines.world.write({"hidden/cryptography/__init__.py": "raise ImportError('not here')\n"})
    library = f"{machines.world.project}/hidden:{machines.world.environment()['PYTHONPATH']}"
    home = machines.home("reader")
    done = machines.world.run("cache", "audit", "shop", ok=False, PYTHONPATH=library, PYBUILD_HOME=home)
    assert done.returncode == 2
    assert "pip install 'buildkit-py[sign]'" in done.stderr
