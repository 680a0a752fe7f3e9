"""Two models beside each other, of which one in a worker process; the answer of both, or of the one that answered.

python triage.py                             # without a server
pillion serve triage.py:triage
curl --json '{"text": "GOOD morning"}' 127.0.0.1:8080/triage
"""

import pillion
from pillion import Model, task


class Mood(Model):
    def load(self) -> None:
        self.score = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> float:
        return float(sum(self.score.get(word, 0) for word in text.split()))


async def length(text: str) -> float:
    return min(len(text) / 100, 1.0)


def clean(text: str) -> str:
    return text.strip().lower()


def decide(scores: dict[str, float]) -> str:
    return "happy" if sum(scores.values()) > 0 else "sad"


triage = pillion.Sequential(
    clean,
    pillion.Ensemble(Mood, length, require="all", combine=decide, name="opinions"),
    name="triage",
)

if __name__ == "__main__":
    with triage as flow:
        for text, answer in flow.stream(["GOOD morning", "bad, bad, bad "], return_x=True, timeout=5):
            print(f"{text!r}: {answer}")
