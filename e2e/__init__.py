"""End-to-end tests: scenarios that run on a real Kubernetes node, and the node itself."""
