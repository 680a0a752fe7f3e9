"""The model that the graph calls."""

from pillion import Model, task


class Mood(Model):
    """Scores words, and finds some."""

    def load(self) -> None:
        """Learn."""
        self.score = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        """How good it is."""
        return sum(self.score.get(word, 0) for word in text.split())

    @task
    def count(self, text: str) -> int:
        """How long it is."""
        return len(text.split())

    @task
    def praise(self, score: int, words: int) -> str:
        """For good ones."""
        return f"{score} for {words} words"

    @task
    def comfort(self, score: int, words: int) -> str:
        """For bad ones."""
        return f"it gets better after {words} words and {score}"

    @task
    def shrug(self, words: int, score: int = 0) -> str:
        """For others."""
        return f"{words} words" if not score else ""
