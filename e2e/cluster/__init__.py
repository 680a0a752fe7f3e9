"""The project's own single-node Kubernetes for tests; see `e2e/README.md`."""
