"""`python -m buildkit_py` is `pybuild`."""

import sys

from buildkit_py.cli.main import main

sys.exit(main())
