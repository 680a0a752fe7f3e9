"""The edge to kopf: records what the watches deliver and enqueues keys, and nothing else."""
