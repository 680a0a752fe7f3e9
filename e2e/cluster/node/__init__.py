"""What a test cluster is made of, one concern a module, on the standard library alone.

Nothing here may import a third-party package: the cluster is started before any virtual
environment exists.
"""
