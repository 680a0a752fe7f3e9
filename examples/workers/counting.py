"""An application in two processes, each told by its context which part of the work is its own.

python counting.py
curl localhost:8080/          # the part of whichever worker answers
curl -X POST localhost:8080/stop
"""

import os

from fastapi import FastAPI, Request

import pillion

app = FastAPI()


@app.get("/")
def part(request: Request) -> dict[str, object]:
    """Which worker answers, and with what it was started."""
    return {"process": os.getpid(), "part": request.state.worker_context["part"]}


@app.post("/stop")
async def stop() -> str:
    """End all workers; this answer still arrives."""
    await pillion.stop()
    return "stopping"


if __name__ == "__main__":
    pillion.serve(
        "counting:app",
        workers=2,
        worker_contexts=[{"part": "first"}, {"part": "second"}],
        port=int(os.environ.get("PORT", "8080")),
    )
    print("all workers have ended")
