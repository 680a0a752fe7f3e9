"""A handler that notices that its client has left, or that its time is up.

pillion serve notices_cancellation.py:app
curl --max-time 1 127.0.0.1:8080/slow        # curl leaves after a second
curl -H 'X-Request-Timeout-Seconds: 1' 127.0.0.1:8080/slow
curl 127.0.0.1:8080/seen                     # {"begun":2,"cancelled":2}
"""

import asyncio

from fastapi import FastAPI

app = FastAPI()
seen = {"begun": 0, "cancelled": 0}


@app.get("/slow")
async def slow() -> str:
    seen["begun"] += 1
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        seen["cancelled"] += 1  # tidy up here, and let it go on
        raise
    return "nobody waits that long"


@app.get("/seen")
async def what_was_seen() -> dict[str, int]:
    return seen
