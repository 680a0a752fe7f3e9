"""Pure functions from (spec, serving runtime, settings) to manifests: one module per kind of child, no I/O."""
