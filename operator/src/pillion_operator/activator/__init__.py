"""The activator: holds connections to services that have no pods, asks for one, and splices. A program of its own.

It knows nothing of the protocols that it carries but what waking takes: see `opening` and `http2`.
"""
