"""Models that come and go while the server runs: deployed by requests, and found in a watched folder."""
