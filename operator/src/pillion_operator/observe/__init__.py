"""What is known of an object and its surroundings: the caches, and the few reads that go past them."""
