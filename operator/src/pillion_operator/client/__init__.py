"""Everything that talks to the API server: one small typed module, behind a fence that the lease opens."""
