"""Running tests: those of the targets, side by side, whatever comes of any of them."""

from __future__ import annotations

from buildkit_py.api.request import BuildResult, TestResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.build import Build
    from buildkit_py.frontend.target import Target, Test
    from buildkit_py.solver.solve import Solution, Solver


def run_tests(build: Build, targets: tuple[Target, ...], log_dir: str) -> BuildResult:
    """What became of each test, in the order of the file. Raises what keeps all of them from running."""
    tests = list(dict.fromkeys([test for target in targets for test in target.tests]))
    steps = [test.step for test in tests]
    executor = build.executor(log_dir, "none")
    executor.expect(steps)
    solvers: list[Solver] = []

    def solver() -> Solver:
        solvers.append(build.solver(executor, None, targets))
        return solvers[-1]

    solution = build.solve(solver, executor, steps, tolerant=True)
    executor.contexts()  # so that the next build need not read what this one read
    results = tuple([_result(test, solution, solvers[-1]) for test in tests])
    others = tuple([problem for step, problem in solution.failed.items() if step not in steps])
    build.finish(not solution.failures)
    return BuildResult((), build.session.clock(), build.ran, build.cached, results, others)


def _result(test: Test, solution: Solution, solver: Solver) -> TestResult:
    seen = solver.seen.get(test.step)
    seconds = seen.seconds if seen is not None else 0.0
    state = "PASSED" if test.step in solution.results else "SKIPPED"
    problem = solution.failed.get(test.step)
    return TestResult(
        test.name,
        test.stage,
        "FAILED" if problem is not None else state,
        state == "PASSED" and (seen is None or seen.state == "CACHED"),
        seconds,
        problem,
        str(test.step.position) if test.step.position is not None else "",
    )
