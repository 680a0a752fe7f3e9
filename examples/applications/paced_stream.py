"""A stream of `max` numbers, one each tenth of a second; each arrives when it is given.

pillion serve paced_stream.py:numbers
curl -N '127.0.0.1:8080/?max=10'
"""

import asyncio
from collections.abc import AsyncIterator

from pillion import Request


async def numbers(request: Request) -> AsyncIterator[str]:
    for number in range(int(request.query_params.get("max", "10"))):
        yield f"{number}\n"
        await asyncio.sleep(0.1)
