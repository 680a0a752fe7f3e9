"""Applications: web applications and plain handlers that answer below paths of their own, beside the models.

The server's dispatcher asks :class:`~pillion.applications.group.Applications` whose a path is, after its own table.
What answers is an ASGI application in every case: one of the user's as it is, an ingress class
(:mod:`~pillion.applications.ingress`), or a raw handler (:mod:`~pillion.applications.raw`).
:mod:`~pillion.applications.exchange` stands around each request of any of them: limits, deadline, the client's leaving,
what is counted and told.
"""
