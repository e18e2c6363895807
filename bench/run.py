"""Run the benchmark: `python bench/run.py [case…]`. docs/explanation/performance.md says how it measures."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # As a script this file's directory is on the path, as a module of the package it could not be started.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from bench.command import main

    sys.exit(main(os.path.abspath(__file__), sys.argv[1:]))
