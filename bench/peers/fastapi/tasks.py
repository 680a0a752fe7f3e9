"""A typed task by FastAPI and pydantic: as plain function and as coroutine."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field

WORTH = {"good": 1.0, "bad": -1.0}


class Options(BaseModel):
    top_k: int = Field(default=2, ge=1, le=10)
    threshold: float = 0.0
    tags: list[str] = []


class Request(BaseModel):
    text: str = Field(min_length=1)
    options: Options = Options()


class Label(BaseModel):
    name: str
    score: float


app = FastAPI()


def labels(request: Request) -> list[Label]:
    found = [Label(name=word, score=WORTH.get(word, 0.0)) for word in request.text.split()]
    kept = [label for label in found if label.score >= request.options.threshold]
    return kept[: request.options.top_k]


@app.post("/classify")
def classify(request: Request) -> list[Label]:
    return labels(request)


@app.post("/classify_soon")
async def classify_soon(request: Request) -> list[Label]:
    return labels(request)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
