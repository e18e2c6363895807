"""Fuzzing for a time: `python -m tests.fuzz --minutes 10 [--seed N]`.

Every input is a Buildfile that nobody wrote: it must parse and lower or be refused with an error of ours, and where it
parses, its canonical form must be its own and mean the same, all checks must run, and `--fix` must not change what it
means. The seed is printed; the same one gives the same inputs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time

from tests.fuzz.buildfiles import attempt, hold_checks, hold_form, lark_once, mutated, seeds


def main(argv: list[str]) -> int:
    """Run; 0 where nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args(argv)
    print(f"seed {arguments.seed}", flush=True)
    chance, known = random.Random(arguments.seed), seeds()
    end = time.monotonic() + arguments.minutes * 60
    count = lowered = refused = found = 0
    with lark_once(), tempfile.TemporaryDirectory() as context:
        while time.monotonic() < end:
            data = mutated(chance, known)
            count += 1
            try:
                said = attempt(data, context)
                formed = hold_form(data)
                found += hold_checks(data, context)
            except BaseException:
                print(f"input {count} broke it: {data!r}", file=sys.stderr)
                raise
            lowered += not said
            refused += not formed
    print(f"{count} inputs: {lowered} became graphs, {refused} did not parse, {found} findings; nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
