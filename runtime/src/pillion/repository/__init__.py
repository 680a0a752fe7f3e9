"""Which models are desired, which are loaded, and in what state: the only word on readiness."""
