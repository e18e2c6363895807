from buildkit_py.frontend.host import fingerprint, host_step
from buildkit_py.graph.op import HostSource
from tests.frontend.fakes import SeenInputs


def system(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_the_package_database_decides(tmp_path):
    root = system(tmp_path, **{"var__lib__dpkg__status": "Package: a\n", "usr__lib__os-release": "ID=x\n"})
    seen = SeenInputs()
    before = fingerprint(seen, root)
    assert before == fingerprint(SeenInputs(), root)
    assert f"{root}/var/lib/dpkg/status" in seen.files
    assert f"{root}/lib/apk/db/installed" in seen.files  # looked for: it may appear
    system(tmp_path, **{"var__lib__dpkg__status": "Package: b\n"})
    assert fingerprint(SeenInputs(), root) != before


def test_a_release_file_that_appears_is_seen(tmp_path):
    before = fingerprint(SeenInputs(), str(tmp_path))
    system(tmp_path, **{"etc__os-release": "ID=x\n"})
    assert fingerprint(SeenInputs(), str(tmp_path)) != before


def test_a_database_that_is_a_directory_counts_by_its_own_time(tmp_path):
    local = tmp_path / "var/lib/pacman/local"
    local.mkdir(parents=True)
    before = fingerprint(SeenInputs(), str(tmp_path))
    (local / "package-1").mkdir()
    assert fingerprint(SeenInputs(), str(tmp_path)) != before


def test_the_step_of_this_machine():
    step = host_step(SeenInputs())
    assert isinstance(step.op, HostSource)
    assert step.base is None
