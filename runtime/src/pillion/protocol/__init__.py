"""Codecs between bytes on the wire and the data plane's values. Pure: no sockets, no event loop."""
