"""Values that every layer of the operator speaks of: keys, manifests, what was observed, conditions."""
