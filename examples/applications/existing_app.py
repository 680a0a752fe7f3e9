"""A FastAPI application that is there already, in an empty class; its lifespan and state are its own.

pillion serve existing_app.py:Existing --route-prefix /existing
curl 127.0.0.1:8080/existing/answer
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import pillion


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, int]]:
    yield {"answer": 42}


app = FastAPI(lifespan=lifespan)


@app.get("/answer")
def answer(request: Request) -> int:
    return int(request.state.answer)


@pillion.ingress(app)
class Existing:
    pass
