"""A model that calls two others of its server, and a service beside it.

    pillion serve desk.py:Mood desk.py:Length desk.py:Desk
    curl --json '{"text": "good morning"}' http://127.0.0.1:8080/answer

Set TRANSLATOR to the URL of a server with a task `translate`, and answers are translated. It may fail: the answer is
given all the same, with what was wrong.
"""

import asyncio
import os

import pillion
from pillion import Model, task
from pillion.errors import PillionError

TRANSLATOR = os.environ.get("TRANSLATOR")


class Mood(Model):
    """Scores words."""

    @task
    def score(self, text: str) -> int:
        """How good it is."""
        return text.count("good") - text.count("bad")


class Length(Model):
    """Counts words."""

    @task
    async def count(self, text: str) -> int:
        """How long it is."""
        return len(text.split())


class Desk(Model):
    """Asks both."""

    @task
    async def answer(self, text: str) -> dict[str, str]:
        """In one sentence."""
        score, words = await asyncio.gather(
            pillion.models["mood"].task("score", text=text), pillion.models["length"].task("count", text=text)
        )
        answer = f"{words} words, {'happy' if score > 0 else 'sad'}"
        if TRANSLATOR is None:
            return {"answer": answer}
        try:
            return {"answer": await pillion.remote(TRANSLATOR, timeout=2, retries=0).task("translate", text=answer)}
        except PillionError as error:
            return {"answer": answer, "not translated": str(error)}
