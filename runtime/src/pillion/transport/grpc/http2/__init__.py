"""HTTP/2 on the event loop itself: the second gRPC engine (docs/adr/0032)."""
