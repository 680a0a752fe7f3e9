"""What images and other artifacts of registries are made of, and who we are to a registry; no client of its own."""
