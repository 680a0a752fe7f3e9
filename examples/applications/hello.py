"""An application below a prefix: its route `/` is at the prefix itself, without a redirect.

pillion serve hello.py:app --route-prefix /hello
curl 127.0.0.1:8080/hello
"""

from fastapi import FastAPI

app = FastAPI(title="Hello")


@app.get("/")
def hello() -> str:
    return "hello"
