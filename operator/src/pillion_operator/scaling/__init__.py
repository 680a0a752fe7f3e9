"""How many pods a service needs by what its pods count: decisions without I/O, clock or cluster."""
