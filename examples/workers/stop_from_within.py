"""A server that ends itself when its work is done; the answer that says so still arrives.

python stop_from_within.py
curl -X POST localhost:8080/take      # three times
"""

import os

from fastapi import FastAPI

import pillion

app = FastAPI()
left = [1, 2, 3]


@app.post("/take")
async def take() -> dict[str, int]:
    """Take one; the last one ends the server."""
    taken = left.pop()
    if not left:
        await pillion.stop()
    return {"taken": taken}


if __name__ == "__main__":
    pillion.serve(app, port=int(os.environ.get("PORT", "8080")), server_id="0")
    print("nothing is left")
