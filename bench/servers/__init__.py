"""The bare limits: the least code that answers the same request on the same server library."""
