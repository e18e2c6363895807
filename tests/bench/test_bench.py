"""The benchmark's own logic: rounds in turn, medians, verdicts, absent peers. Nothing here is timed."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from bench import fixtures, verdict, web
from bench.command import CASES
from bench.connections import connections
from bench.control_groups import version_1
from bench.private import discard
from bench.race import Contender, Sample, race
from bench.verdict import Report, at_least, at_most, under
from bench.workbench import PEERS, Workbench, present
from buildkit_py.frontend.buildfile.parse import parse_text
from tests.needs import need
from tests.processes import processes

ENV = {"PATH": os.environ.get("PATH", os.defpath)}


def writes(name: str, directory: Path) -> Contender:
    return Contender(name, (("sh", "-c", f"echo {name} >> log"),), str(directory), ENV)


def test_contenders_run_in_turn_and_warm_up_does_not_count(tmp_path: Path) -> None:
    rounds: list[int] = []
    samples = race([writes("a", tmp_path), writes("b", tmp_path)], 2, warm_up=1, before_round=rounds.append)
    assert (tmp_path / "log").read_text().split() == ["a", "b"] * 3
    assert rounds == [0, 1, 2]
    assert [(sample.name, len(sample.values)) for sample in samples] == [("a", 2), ("b", 2)]


def test_a_slow_contender_may_take_part_in_fewer_rounds(tmp_path: Path) -> None:
    slow = Contender("slow", (("sh", "-c", "echo slow >> log"),), str(tmp_path), ENV, most=1)
    samples = race([slow, writes("a", tmp_path)], 3, warm_up=1)
    assert (tmp_path / "log").read_text().split() == ["slow", "a", "slow", "a", "a", "a"]
    assert [len(sample.values) for sample in samples] == [1, 3]


def test_preparation_gets_the_round_and_its_variables_reach_the_command(tmp_path: Path) -> None:
    prepared: list[int] = []
    contender = Contender(
        "a",
        (("sh", "-c", "echo $ROUND >> log"),),
        str(tmp_path),
        ENV,
        prepare=prepared.append,
        changing=lambda number: {"ROUND": str(number)},
    )
    race([contender], 2)
    assert prepared == [0, 1]
    assert (tmp_path / "log").read_text().split() == ["0", "1"]


def test_a_contender_that_fails_leaves_the_race_and_says_why(tmp_path: Path) -> None:
    broken = Contender("broken", (("sh", "-c", "echo no luck >&2; exit 3"),), str(tmp_path), ENV)
    missing = Contender("missing", ((str(tmp_path / "nothing"),),), str(tmp_path), ENV)
    failed, absent, fine = race([broken, missing, writes("fine", tmp_path)], 2)
    assert failed.values == ()
    assert "exit code 3" in failed.error
    assert "no luck" in failed.error
    assert "No such file" in absent.error
    assert (len(fine.values), fine.error) == (2, "")


def test_the_median_and_the_scatter_of_the_middle_half() -> None:
    sample = Sample("a", (5.0, 1.0, 3.0, 2.0, 100.0))
    assert sample.median == 3.0
    assert sample.spread == 1.0
    assert Sample("one", (2.0,)).spread == 0.0
    assert Sample("none", (0.0, 0.0, 0.0), unit="descriptors").spread == 0.0


@pytest.mark.parametrize(
    ("check", "figure", "said"),
    [
        (at_least("docker", "pybuild", 8), 10.0, "PASS"),
        (at_least("docker", "pybuild", 10.5), 10.0, "MISS"),
        (at_most("pybuild", "docker", 0.1), 0.1, "PASS"),
        (at_most("pybuild", "docker", 0.05), 0.1, "MISS"),
        (under("docker", 2), 2.0, "PASS"),
        (under("docker", 1.9), 2.0, "MISS"),
        (at_least("podman", "pybuild", 1), None, "absent"),
        (at_least("broken", "pybuild", 1), None, "FAILED"),
    ],
)
def test_verdicts(check: verdict.Check, figure: float | None, said: str) -> None:
    samples = [Sample("pybuild", (0.2, 0.1, 0.3)), Sample("docker", (2.0,)), Sample("broken", error="exit code 1")]
    assert check.figure(samples) == (None if figure is None else pytest.approx(figure))
    assert check.verdict(samples) == said


def test_a_report_names_medians_figures_verdicts_and_errors() -> None:
    samples = [Sample("pybuild", (0.012, 0.010, 0.011)), Sample("docker", (1.1,)), Sample("ninja", error="gone\nwhy")]
    checks = (at_least("docker", "pybuild", 8), at_most("pybuild", "ninja", 5), under("docker", 1))
    report = Report("noop", "nothing to do", samples, checks, ["a note"])
    text = "\n".join(verdict.lines(report))
    assert "pybuild   11.0 ms   (10.0 ms … 12.0 ms, n=3" in text
    assert "ninja   FAILED: gone" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["docker", "÷", "pybuild", "100.00", "wanted", "≥", "8", "PASS"] in rows
    assert ["pybuild", "÷", "ninja", "-", "wanted", "≤", "5", "FAILED"] in rows
    assert ["docker", "1.10", "s", "wanted", "≤", "1.00", "s", "MISS"] in rows
    assert verdict.summary([report])[-1] == "FAILED 1, MISS 1, PASS 1"
    [plain] = verdict.as_json([report])
    assert plain["case"] == "noop"


def test_smaller_sizes_are_not_judged() -> None:
    report = Report("noop", "", [Sample("pybuild", (1.0,))], (under("pybuild", 2),), whole=False)
    assert "PASS" not in "\n".join([*verdict.lines(report), *verdict.summary([report])])


def test_only_peers_that_are_installed_take_part() -> None:
    installed = {"docker", "dockerd", "ninja", "buildah"}
    find = {name: f"/usr/bin/{name}" for name in installed}.get
    assert present(tuple(PEERS), find) == ("docker", "ninja")
    assert present(("ninja",), find) == ("ninja",)
    with pytest.raises(ValueError, match="no peer `make`"):
        present(("make",), find)


def test_fixtures_have_the_sizes_that_their_names_say(tmp_path: Path) -> None:
    paths = fixtures.tree(str(tmp_path), 250, 2048)
    assert len({(tmp_path / path).read_bytes() for path in paths}) == 250
    assert {(tmp_path / path).stat().st_size for path in paths} == {2048}
    assert fixtures.twenty("base").count("\n") == 20
    assert fixtures.late_edit("base").splitlines()[16].startswith("COPY")
    assert fixtures.late_edit("base").count("\n") == 20
    assert fixtures.lines(1000).count("\n") == 1000
    assert len(parse_text(fixtures.lines(1000, 7), "Dockerfile").instructions) > 400
    assert fixtures.lines(1000, 7) != fixtures.lines(1000)
    ladder = fixtures.ladder("base", 120)
    assert (ladder.count("\nRUN "), ladder.count(" AS "), ladder.count("--from=")) == (120, 3, 3)
    assert len({line for line in ladder.splitlines() if line.startswith("RUN")}) == 120
    assert fixtures.ninja(20, ["a", "b"]).count("\nbuild ") == 20


WRK = """\
Running 1s test @ http://127.0.0.1:8000/index.html
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.75ms    3.44ms  47.96ms   92.50%
    Req/Sec    45.08k    11.49k   68.29k    60.00%
  Latency Distribution
     50%  837.00us
     75%    1.33ms
     99%   17.64ms
  45043 requests in 1.01s, 36.34MB read
Requests/sec:  44730.54
Transfer/sec:     36.09MB
"""


def test_what_wrk_says() -> None:
    assert web.requests(WRK) == (44730.54, pytest.approx(0.000837))
    failed = WRK.replace("Requests/sec", "  Socket errors: connect 0, read 12, write 0, timeout 0\nRequests/sec")
    with pytest.raises(ValueError, match="Socket errors: connect 0, read 12"):
        web.requests(failed)
    with pytest.raises(ValueError, match="does not say how many: unable to connect"):
        web.requests("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_hierarchies_of_control_groups() -> None:
    assert version_1("0::/user.slice\n") == []
    old = "8:pids:/a:b\n4:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n"
    assert version_1(old) == ["pids", "memory", "cpu,cpuacct", "name=systemd"]


def test_all_connections_are_served_or_counted() -> None:
    body = b"some text"
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:

        def serve() -> None:
            socks = [server.accept()[0] for _ in range(10)]
            for number, sock in enumerate(socks):
                sock.recv(1000)
                if number < 7:  # in two pieces
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body))
                    sock.sendall(b"\r\n" + body)
                sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with connections(server.getsockname()[1], 10) as opened:
            assert opened.served(body) == 7
        thread.join()
    with pytest.raises(RuntimeError, match="more than this process may have open"), connections(1, 1 << 30):
        pass


def test_every_case_says_what_it_is() -> None:
    assert all(case.__doc__ for case in CASES.values())


@pytest.mark.peers
@pytest.mark.privileged
def test_the_daemon_of_a_case_that_fails_is_ended(tmp_path_factory: pytest.TempPathFactory) -> None:
    need("dockerd", "docker", "docker-registry")
    if os.geteuid() != 0:
        pytest.skip("a docker daemon needs root")
    root = tmp_path_factory.mktemp("bench")  # names of sockets are short
    bench = Workbench(str(root), str(root / "nothing"), ("docker",), 1, small=True)
    try:
        with pytest.raises(RuntimeError, match="nothing: No such file"):
            CASES["cache-cold"](bench)
        assert (root / "engines/fresh/daemon.json").exists()
        left = daemons(root)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == []
    finally:
        bench.close()
        discard(str(root))


def daemons(root: Path) -> list[int]:
    """Those that run with a docker below a directory, but not the registry."""
    asked = f"{root}/engines/fresh/".encode()
    found = []
    for path in [process / "cmdline" for process in processes()]:
        with suppress(OSError):  # it ended
            if asked in path.read_bytes():
                found.append(int(path.parent.name))
    return found
