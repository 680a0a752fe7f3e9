"""HTTP/1.1: an ASGI dispatcher for the hot routes in front of the FastAPI app that owns the rest."""
