"""Deciding about canaries: how the newest revision does beside the last good one, and what comes next."""
