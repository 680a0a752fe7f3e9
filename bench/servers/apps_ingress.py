"""One route of FastAPI with a path parameter and a validated body, as a method of a class and as a function."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import pillion

app, plain = FastAPI(), FastAPI()


class Order(BaseModel):
    count: int
    price: float


@pillion.ingress(app)
class Shop:
    """The class."""

    @app.post("/items/{item}")
    async def order(self, item: int, order: Order) -> dict[str, float]:
        """What it costs."""
        return {"item": item, "total": order.count * order.price}


@plain.post("/items/{item}")
async def order(item: int, order: Order) -> dict[str, float]:
    """The same without a class."""
    return {"item": item, "total": order.count * order.price}


if __name__ == "__main__":
    uvicorn.run(plain, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
