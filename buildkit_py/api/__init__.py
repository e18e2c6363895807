"""The one place that wires frontends, solver, store, exporters and runner together."""
