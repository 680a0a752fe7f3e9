"""Methods of a class as routes: two verbs of one path, with a path parameter, on an instance that is loaded once.

pillion serve two_verbs.py:Shelf --route-prefix /shelf
curl -X PUT '127.0.0.1:8080/shelf/books/7?title=Ulysses'
curl 127.0.0.1:8080/shelf/books/7
"""

from fastapi import FastAPI, HTTPException

import pillion

app = FastAPI()


@pillion.ingress(app)
class Shelf:
    def __init__(self) -> None:
        self.titles: dict[int, str] = {}

    @app.get("/books/{number}")
    async def book(self, number: int) -> dict[str, str]:
        if number not in self.titles:
            raise HTTPException(404, f"no book {number}")
        return {"title": self.titles[number]}

    @app.put("/books/{number}", status_code=201)  # type: ignore[no-redef]  # one name, two verbs
    async def book(self, number: int, title: str) -> dict[str, str]:  # noqa: F811 - one name, two verbs
        self.titles[number] = title
        return {"title": title}
