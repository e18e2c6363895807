"""pybuild builds itself: its wheel, an environment with it installed, its tests, and an image.

pybuild Buildfile.py            the root filesystem of `app`, on this machine's own
pybuild Buildfile.py wheel      the wheel, into dist/
pybuild Buildfile.py test       the quick part of the test suite, in a sandbox
pybuild Buildfile.py image      an image on a real base, for those who reach a registry
"""

from buildkit_py import Image, cache, context, host, scratch, target

src = context(".", ignore=[".git", ".venv", "dist", "bench", "**/__pycache__", "**/.*_cache", "*.egg-info"])
PIP_CACHE = cache("/root/.cache/pip", id="pybuild-pip")


def sources(base: Image) -> Image:
    """What a wheel is made of, in /src."""
    return (
        base.workdir("/src")
        .copy(src["pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"], "./")
        .copy(src["grammar"], "grammar/")
        .copy(src["buildkit_py"], "buildkit_py/")
    )


def built(base: Image, python: str) -> Image:
    """The wheel in /src/dist."""
    return (
        sources(base)
        .run(f"{python} -m venv /opt/build && /opt/build/bin/pip install -q build hatchling", mounts=[PIP_CACHE])
        .run("/opt/build/bin/python -m build --wheel --no-isolation -o dist . && ls -l dist")
    )


def installed(base: Image, made: Image, python: str) -> Image:
    """A fresh environment in /opt/pybuild with the wheel in it."""
    return (
        base.run(f"{python} -m venv /opt/pybuild")
        .copy(made["/src/dist"], "/tmp/dist/")
        .run("/opt/pybuild/bin/pip install -q /tmp/dist/*.whl", mounts=[PIP_CACHE])
        .env(PATH="/opt/pybuild/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .run("pybuild --version")
    )


@target
def wheel(python: str = "python3") -> Image:
    """The wheel, written to dist/."""
    return scratch().copy(built(host(), python)["/src/dist"], "/").output("/", "dist")


@target(name="test")
def quick_tests(python: str = "python3") -> Image:
    """The quick part of the test suite, inside the sandbox."""
    return (
        sources(host())
        .copy(src["docs"], "docs/")
        .run(f"{python} -m venv /opt/test && /opt/test/bin/pip install -q '.[test]'", mounts=[PIP_CACHE])
        .copy(src["tests"], "tests/")
        .run("/opt/test/bin/pytest -q tests/solver tests/golden tests/frontend tests/test_patterns.py")
    )


@target(default=True)
def app(python: str = "python3") -> Image:
    """A root filesystem in which `pybuild --version` runs."""
    return installed(host(), built(host(), python), python).cmd("pybuild", "--help")


@target
def image(base: str = "python:3.13-slim") -> Image:
    """An image of pybuild on a real base image."""
    start = Image(base)
    return installed(start, built(start, "python3"), "python3").entrypoint("pybuild").cmd("--help")
