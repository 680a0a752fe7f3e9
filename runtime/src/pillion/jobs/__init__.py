"""Jobs: predictions that nobody waits for, and trainings. Accepted once, kept on disk, ended exactly once."""
