"""What a Buildfile.py looked at becomes an input of the build."""

import importlib.util
import io
import os
import subprocess
import sys
import threading
from importlib.machinery import all_suffixes

import pytest

from buildkit_py.frontend.python.watch import Unwatched, Watch
from tests.frontend.fakes import SeenInputs
from tests.frontend.python.door import Door


@pytest.fixture
def seen():
    return SeenInputs()


def test_files_read_and_files_missing(seen, tmp_path):
    (tmp_path / "there").write_text("x")
    with Watch(seen):
        (tmp_path / "there").read_text()
        with pytest.raises(FileNotFoundError):
            open(tmp_path / "gone").close()
    assert seen.files == [str(tmp_path / "there"), str(tmp_path / "gone")]
    assert seen.impurities == []


@pytest.mark.parametrize("look", [os.path.exists, os.path.isdir, os.path.islink, os.path.getmtime])
def test_looking_is_reading(seen, tmp_path, look):
    with Watch(seen):
        look(str(tmp_path))
    assert seen.files == [str(tmp_path)]


def test_os_stat_itself(seen, tmp_path):
    with Watch(seen):
        os.stat(tmp_path)
        os.stat(0)
    assert seen.files == [str(tmp_path)]


def from_stdin():
    sys.stdin.readline()


def from_the_descriptor():
    open(0, closefd=False).close()


@pytest.mark.parametrize("act", [from_stdin, from_the_descriptor])
def test_standard_input_is_never_the_same(seen, monkeypatch, act):
    monkeypatch.setattr(sys, "stdin", io.StringIO("x\n"))
    before = sys.stdin
    with Watch(seen):
        act()
    assert seen.impurities == ["standard input"]
    assert sys.stdin is before


def test_files_that_are_made_when_they_are_read(seen, tmp_path):
    (tmp_path / "link").symlink_to("/proc/uptime")
    os.mkfifo(tmp_path / "pipe")
    keep = os.open(tmp_path / "pipe", os.O_RDWR)
    paths = ["/proc/sys/kernel/random/uuid", str(tmp_path / "link"), "/sys/kernel/uevent_seqnum", "/dev/zero"]
    with Watch(seen):
        for path in (*paths, str(tmp_path / "pipe")):
            os.close(os.open(path, os.O_RDONLY))
        open("/dev/null").close()
        os.path.exists("/proc/1")
    os.close(keep)
    assert seen.impurities == [f"read {path}" for path in (*paths, str(tmp_path / "pipe"))]


def read_link(path):
    os.readlink(path)


@pytest.mark.parametrize("look", [read_link, os.path.realpath, os.path.lexists, os.path.islink])
def test_where_a_link_leads_is_its_directory(seen, tmp_path, look):
    (tmp_path / "link").symlink_to("none")
    with Watch(seen):
        look(str(tmp_path / "link"))
    assert {str(tmp_path), str(tmp_path / "link")} <= set(seen.files)
    seen.files.clear()
    with Watch(seen):
        os.path.exists(tmp_path / "link")
    assert seen.files == [str(tmp_path / "link")]


def test_environment_variables(seen, monkeypatch):
    monkeypatch.setenv("PYBUILD_TEST_SET", "1")
    monkeypatch.delenv("PYBUILD_TEST_UNSET", raising=False)
    with Watch(seen):
        assert os.environ["PYBUILD_TEST_SET"] == "1"
        assert os.getenv("PYBUILD_TEST_UNSET", "d") == "d"
        assert "PYBUILD_TEST_UNSET" not in os.environ
        os.environ["PYBUILD_TEST_SET"] = "2"
    assert os.environ["PYBUILD_TEST_SET"] == "2"
    assert seen.variables == {"PYBUILD_TEST_SET": "1", "PYBUILD_TEST_UNSET": None}
    assert seen.impurities == []


@pytest.mark.parametrize("read_all", [dict, len, list, repr, lambda environ: environ.copy()])
def test_all_variables_at_once_cannot_be_checked_later(seen, read_all):
    with Watch(seen):
        read_all(os.environ)
    assert "all environment variables" in seen.impurities


def listing(path):
    os.listdir(path)


def process(path):
    subprocess.run(["true"], check=True)


def writing(path):
    with open(os.path.join(path, "new"), "w"):
        pass


def name_lookup(path):
    import socket

    socket.getaddrinfo("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("act", "noted"),
    [
        (listing, "os.listdir"),
        (process, "subprocess.Popen"),
        (writing, "wrote "),
        (name_lookup, "socket.getaddrinfo"),
    ],
)
def test_what_cannot_be_checked_later(seen, tmp_path, act, noted):
    with Watch(seen):
        act(str(tmp_path))
    assert any(what.startswith(noted) for what in seen.impurities)


def test_an_import_is_the_modules_source_and_what_could_hide_it(seen, tmp_path, monkeypatch):
    (tmp_path / "pybuild_watched.py").write_text("A = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = list(sys.meta_path)
    with Watch(seen):
        import pybuild_watched

        assert pybuild_watched.A == 1
    del sys.modules["pybuild_watched"]
    first = set(seen.files)
    seen.files.clear()
    with Watch(seen):
        import pybuild_watched  # from what Python compiled before
    assert set(seen.files) == first
    assert {path for path in first if path.startswith(str(tmp_path))} == {
        str(tmp_path / "none"),
        str(tmp_path / "pybuild_watched"),
        *(str(tmp_path / f"pybuild_watched{suffix}") for suffix in all_suffixes()),
    }
    assert seen.impurities == []
    assert sys.meta_path == before


@pytest.fixture
def looked_for(seen, tmp_path, monkeypatch):
    """What is noted below a directory of `sys.path` when something is looked for."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def looked_for(look):
        seen.files.clear()
        with Watch(seen):
            look()
        assert seen.impurities == []
        return {path.removeprefix(f"{tmp_path}/") for path in seen.files if path.startswith(str(tmp_path))}

    return looked_for


def missing():
    with pytest.raises(ImportError):
        import pybuild_missing  # noqa: F401


def named():
    with pytest.raises(ImportError):
        importlib.import_module("pybuild_missing")


def asked():
    assert importlib.util.find_spec("pybuild_missing") is None


@pytest.mark.parametrize("look", [missing, named, asked])
def test_a_module_that_is_not_there_is_where_it_would_be(looked_for, tmp_path, look):
    modules = {f"pybuild_missing{suffix}" for suffix in all_suffixes()}
    assert looked_for(look) == {"pybuild_missing", *modules}
    (tmp_path / "pybuild_missing").mkdir()  # of which another directory of the path may still have the module
    begins = {f"pybuild_missing/__init__{suffix}" for suffix in all_suffixes()}
    assert looked_for(lambda: importlib.util.find_spec("pybuild_missing")) == {"pybuild_missing", *modules, *begins}
    (tmp_path / "pybuild_missing/__init__.py").write_text("")
    assert looked_for(lambda: importlib.util.find_spec("pybuild_missing")) == modules | begins


def test_a_module_of_a_package_is_looked_for_in_that(looked_for, tmp_path):
    (tmp_path / "pybuild_package").mkdir()
    (tmp_path / "pybuild_package/__init__.py").write_text("")

    def look():
        with pytest.raises(ImportError):
            import pybuild_package.none  # noqa: F401
        del sys.modules["pybuild_package"]

    assert {f"pybuild_package/none{suffix}" for suffix in ("", *all_suffixes())} < looked_for(look)


def test_installed_packages_are_the_directories_that_they_are_in(looked_for, tmp_path, monkeypatch):
    (tmp_path / "site-packages/pybuild_installed").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    missing_there = {f"pybuild_missing{suffix}" for suffix in ("", *all_suffixes())}
    assert looked_for(missing) == {"site-packages", *missing_there}
    found = looked_for(lambda: importlib.util.find_spec("pybuild_installed"))
    assert {"site-packages", "site-packages/pybuild_installed"} < found


def test_nothing_hides_pythons_own_modules_behind_them(looked_for, monkeypatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != sys.path[0]] + [sys.path[0]])
    monkeypatch.delitem(sys.modules, "wave", raising=False)

    def look():
        import wave

        assert wave

    assert looked_for(look) == set()


def test_threads_that_the_file_starts_are_watched(seen, tmp_path):
    def work():
        os.path.exists(tmp_path)
        os.environ.get("PYBUILD_TEST_UNSET")

    with Watch(seen):
        for _ in range(3):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert str(tmp_path) in seen.files
    assert "PYBUILD_TEST_UNSET" in seen.variables


def test_threads_of_our_own_work_stay_our_own(seen, tmp_path):
    begin = threading.Event()

    def work():
        begin.wait()
        os.listdir(tmp_path)
        os.path.exists(tmp_path)

    thread = threading.Thread(target=work)
    with Watch(seen):
        with Unwatched():
            thread.start()
        begin.set()
        thread.join()
    assert (seen.files, seen.impurities) == ([], [])


def test_our_own_threads_and_our_own_work_are_not_watched(seen, tmp_path):
    begin = threading.Event()

    def work():
        begin.wait()
        os.listdir(tmp_path)

    thread = threading.Thread(target=work)
    thread.start()
    with Watch(seen):
        begin.set()
        thread.join()
        with Unwatched():
            os.listdir(tmp_path)
            os.stat(tmp_path)
            dict(os.environ)
    assert (seen.files, seen.impurities) == ([], [])


def test_nothing_is_left_behind(seen):
    before = (os.environ, os.stat, os.lstat, os.access, os.readlink)
    with pytest.raises(ZeroDivisionError), Watch(seen):
        raise ZeroDivisionError
    assert (os.environ, os.stat, os.lstat, os.access, os.readlink) == before
    os.listdir("/")
    assert seen.impurities == []


def test_a_whole_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PYBUILD_TEST_NAME", "n")
    (tmp_path / "version").write_text("1.2\n")
    text = """
    import pathlib

    NAME = env("PYBUILD_TEST_NAME")

    @target
    def app():
        version = read("version").strip()
        extra = pathlib.Path(__file__).with_name("extra").exists()
        return Image("base").env(V=version, N=NAME, X=str(extra), D=env("PYBUILD_TEST_OTHER", "d"))
    """
    door = Door(tmp_path, text)
    assert door.one().config.env[1:] == (("V", "1.2"), ("N", "n"), ("X", "False"), ("D", "d"))
    assert [path for path in dict.fromkeys(door.inputs.files) if path.startswith(str(tmp_path))] == [
        str(tmp_path / "Buildfile.py"),
        str(tmp_path / "version"),
        str(tmp_path / "extra"),
    ]
    assert door.inputs.variables == {"PYBUILD_TEST_NAME": "n", "PYBUILD_TEST_OTHER": None}
    assert door.inputs.impurities == []


def test_checking_types_is_no_doing_of_the_file(tmp_path):
    """In a fresh interpreter, because typeguard lists directories only when it is first imported."""
    (tmp_path / "Buildfile.py").write_text(
        "from buildkit_py import Image, target\n\n@target\ndef app(names: list[str] = []) -> Image:\n"
        "    return Image('x')\n\napp(names=['a'])\n"
    )
    code = (
        "import sys\nfrom buildkit_py.frontend.python.load import load\n"
        "from tests.frontend.fakes import SeenInputs\n"
        "seen = SeenInputs()\nload(sys.argv[1], seen)\nassert 'typeguard' in sys.modules\n"
        "print(seen.files, seen.impurities)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "Buildfile.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.strip() == f"{[str(tmp_path / 'Buildfile.py')]} []", done.stderr
