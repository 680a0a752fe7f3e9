"""Models of transformers from a folder: the task is that of the architecture in ``config.json``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import transformers

from pillion.authoring.text import TextMethods
from pillion.backends import hub_methods, text
from pillion.backends.api import InputRule, LoadOptions, ModelLoadError
from pillion.backends.detect import FileKind, detect
from pillion.backends.hub_folder import read_json
from pillion.backends.hub_library import (
    Tokenizers,
    check_parameters,
    libraries,
    load_model,
    load_tokenizer,
    longest,
)
from pillion.backends.huggingface_tasks import TASKS, Task, Texts, class_names
from pillion.backends.huggingface_text import HubStream, TextGenerator
from pillion.backends.labels import fitting
from pillion.backends.torch_tensors import OperatorThreads, device_for
from pillion.backends.unsafe import unsafe_refusal
from pillion.model import ModelMetadata
from pillion.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pillion.authoring.signature import TaskSignature
    from pillion.execution.api import Interrupt

__all__ = ["BACKEND", "PipelineModel"]

_HEADS: Final = {
    "ForSequenceClassification": ("text-classification", transformers.AutoModelForSequenceClassification),
    "ForTokenClassification": ("token-classification", transformers.AutoModelForTokenClassification),
    "ForMaskedLM": ("fill-mask", transformers.AutoModelForMaskedLM),
    "ForCausalLM": ("text-generation", transformers.AutoModelForCausalLM),
    "LMHeadModel": ("text-generation", transformers.AutoModelForCausalLM),
}
"""Ends of the names of architectures."""


class PipelineModel:
    """A pipeline of transformers behind typed tensors. Its weights are shared; each thread has its own tokenizer."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        model: Any,  # noqa: ANN401 - transformers has no types
        tokenizer: Any,  # noqa: ANN401 - as above
        threads: OperatorThreads,
    ) -> None:
        self._task = task
        self._model = model
        self._threads = threads
        self._tokenizers = Tokenizers(tokenizer)
        self._pipelines = threading.local()
        self._longest = longest(tokenizer, model.config)
        self.rules: tuple[InputRule, ...] = task.rules(tokenizer)
        outputs = task.outputs(model.config)
        self.any_input_name = len(self.rules) == 1
        self.default_outputs = tuple(spec.name for spec in outputs if spec.name not in task.on_request)
        scores = [spec for spec in outputs if spec.name == "probabilities"]
        self.metadata = ModelMetadata(
            "huggingface_transformers",
            tuple(rule.spec for rule in self.rules),
            outputs,
            labels=fitting(scores, class_names(model.config)) if scores else {},
        )
        self._datatypes = {spec.name: spec.datatype for spec in outputs}
        self.libraries = libraries(folder)
        self._generator: TextGenerator | None = None
        self.text = TextMethods()
        if task.name == "text-generation":
            self._generator = TextGenerator(model, self._tokenizers, self._longest, threads)
            self.text = hub_methods.generation(messages=bool(self._tokenizers.own.chat_template))

    def stream(self, task: TaskSignature, arguments: Mapping[str, Any]) -> HubStream:
        """See :class:`~pillion.backends.api.StreamModel`."""
        if self._generator is None:
            raise TypeError(f"{task.name} is no task of this model")
        return HubStream(self._generator, arguments)

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        first, *rest = inputs
        if first is None:  # the text is not optional
            raise TypeError("no text")
        texts: list[str] = text.decode(first.data, first.name).ravel().tolist()
        self._threads.use()
        pipeline = self._pipeline()
        given = Texts(first.name, texts, self._lengths(texts), self._longest, tuple(rest), interrupt)
        results = self._task.run(pipeline, given)
        return [Tensor(name, self._datatypes[name], results[name]) for name in outputs]

    def _lengths(self, texts: list[str]) -> list[int]:
        """The tokens of each text."""
        if not texts:
            return []
        tokens = self._tokenizers.own(texts, add_special_tokens=True, truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in tokens["input_ids"]]

    def _pipeline(self) -> Any:  # noqa: ANN401 - as above
        made = getattr(self._pipelines, "made", None)
        if made is None:
            made = transformers.pipeline(
                self._task.name, model=self._model, tokenizer=self._tokenizers.own, device=self._model.device
            )
            self._pipelines.made = made
        return made

    def close(self) -> None:
        """The model's memory goes with the last reference to it."""


class HuggingFaceBackend:
    """Loads folders that ``save_pretrained`` wrote."""

    def load(self, path: Path, options: LoadOptions) -> PipelineModel:
        """Load model and tokenizer onto the device that was asked for."""
        artifact = detect(path, "huggingface")
        if artifact.kind is FileKind.HUB_PICKLE and not options.allow_pickle:
            raise unsafe_refusal(path, artifact.kind)
        check_parameters(options)
        task, head = _head(path)
        device = device_for(options)
        threads = OperatorThreads(options)
        tokenizer = load_tokenizer(options.tokenizer or path)
        return PipelineModel(path, TASKS[task], load_model(path, head, options, device), tokenizer, threads)


def _head(folder: Path) -> tuple[str, Any]:
    """The task, and the class that loads its model.

    Raises:
        ModelLoadError: the architecture has no task that is served.
    """
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or []
    for architecture in architectures:
        for end, found in _HEADS.items():
            if str(architecture).endswith(end):
                return found
    named = ", ".join(map(str, architectures)) or "no architecture"
    raise ModelLoadError(
        f"config.json names {named}, and the tasks that are served are {', '.join(TASKS)}",
        "for vectors of an encoder, declare the format sentence-transformers; for the rest, serve a class of your own",
    )


BACKEND: Final = HuggingFaceBackend()
