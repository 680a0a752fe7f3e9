"""The typed task as a library of caikit: data model, task and module."""

from typing import List, Optional  # noqa: UP035 - caikit reads these

from caikit.core import DataObjectBase, ModuleBase, TaskBase, module, task
from caikit.core.data_model import dataobject

WORTH = {"good": 1.0, "bad": -1.0}
IDENTITY = "00000000-0000-4000-8000-000000000001"


@dataobject(package="mood")
class Options(DataObjectBase):
    top_k: int
    threshold: float
    tags: List[str]  # noqa: UP006 - as above


@dataobject(package="mood")
class Label(DataObjectBase):
    name: str
    score: float


@dataobject(package="mood")
class Labels(DataObjectBase):
    labels: List[Label]  # noqa: UP006 - as above


@task(required_parameters={"text": str}, output_type=Labels)
class ClassifyTask(TaskBase):
    pass


@module(id=IDENTITY, name="mood", version="0.0.1", task=ClassifyTask)
class Mood(ModuleBase):
    @classmethod
    def load(cls, _path: str, **_: object) -> "Mood":
        return cls()

    def run(self, text: str, options: Optional[Options] = None) -> Labels:  # noqa: UP045 - as above
        top_k = 2 if options is None or options.top_k is None else options.top_k
        least = 0.0 if options is None or options.threshold is None else options.threshold
        if not text or not 1 <= top_k <= 10:  # its data model knows types, and no bounds
            raise ValueError("text is empty, or top_k is not 1 to 10")
        found = [Label(word, WORTH.get(word, 0.0)) for word in text.split()]
        return Labels([label for label in found if label.score >= least][:top_k])
