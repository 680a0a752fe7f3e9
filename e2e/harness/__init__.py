"""What scenarios are written with: commands as users type them, waiting with a deadline, models, certificates, load."""
