"""Work that finishes although its client has left, because it is shielded.

pillion serve shielded_work.py:Orders
curl --max-time 0.5 -X POST 127.0.0.1:8080/
curl 127.0.0.1:8080/                         # {"booked":1}, two seconds later
"""

import asyncio

from pillion import Request


class Orders:
    def __init__(self) -> None:
        self.booked = 0

    async def book(self) -> int:
        await asyncio.sleep(1)
        self.booked += 1
        return self.booked

    async def __call__(self, request: Request) -> object:
        if request.method == "POST":
            return {"number": await asyncio.shield(self.book())}
        return {"booked": self.booked}
