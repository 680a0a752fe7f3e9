"""The serving process: settings, life cycle, TLS, the admin port."""
