"""Pure functions from what was observed and done to conditions: one module per condition, no I/O."""
