"""The Kubernetes operator: reconciles Pillion's custom resources into pods, Services and their companions."""
