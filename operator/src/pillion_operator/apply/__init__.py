"""Makes the cluster equal to the plan, with as few writes as that takes."""
