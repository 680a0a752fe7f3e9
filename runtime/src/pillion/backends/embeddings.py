"""Sentence embedders from a folder: texts to vectors of single precision.

A folder of sentence-transformers says how tokens become one vector, and whether that is normalised. A plain folder of
transformers is pooled by the mean and not normalised, as sentence-transformers does with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import transformers

from pillion.authoring.finish import Embedded
from pillion.backends import hub_methods, text
from pillion.backends.api import InputRule, LoadOptions, ModelLoadError
from pillion.backends.detect import FileKind, detect
from pillion.backends.embedding_batches import ON_CPU, ON_GPU, batches, padded
from pillion.backends.embedding_layers import Pooling, later_steps, pooling
from pillion.backends.hub_folder import Module, modules_of, read_json
from pillion.backends.hub_library import (
    Tokenizers,
    check_parameters,
    libraries,
    load_model,
    load_tokenizer,
    longest,
    text_rule,
)
from pillion.backends.torch_tensors import OperatorThreads, device_for
from pillion.backends.unsafe import unsafe_refusal
from pillion.model import ModelMetadata
from pillion.tensors import Datatype, Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.text import TextMethods
    from pillion.execution.api import Interrupt

__all__ = ["BACKEND", "EmbeddingModel"]

_OUTPUT: Final = "embedding"


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What happens to a text before its tokens count."""

    prompt: str
    lower: bool
    longest: int | None
    """Tokens after which it is cut, as its folder says."""


class EmbeddingModel:
    """An encoder and the steps after it. Weights are shared; each thread has its own tokenizer."""

    any_input_name = True
    default_outputs = (_OUTPUT,)

    def __init__(
        self,
        folder: Path,
        encoder: Any,  # noqa: ANN401 - transformers has no types
        tokenizer: Any,  # noqa: ANN401 - as above
        pool: Pooling,
        steps: tuple[Callable[[torch.Tensor], torch.Tensor], ...],
        preparation: _Preparation,
        threads: OperatorThreads,
    ) -> None:
        self._encoder = encoder
        self._tokenizers = Tokenizers(tokenizer)
        self._pool = pool
        self._steps = steps
        self._preparation = preparation
        self._threads = threads
        self._costs = ON_CPU if encoder.device.type == "cpu" else ON_GPU
        self._fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        self._left = tokenizer.padding_side == "left"
        self.rules: tuple[InputRule, ...] = (text_rule("a text"),)
        size = self._computed(self._tokens(["a text"]), [0]).shape[1]
        self._size = size
        outputs = (TensorSpec(_OUTPUT, Datatype.FP32, (-1, size)),)
        self.metadata = ModelMetadata("huggingface_embeddings", (self.rules[0].spec,), outputs)
        self.libraries = libraries(folder)
        self.text: TextMethods = hub_methods.embedding()

    def begin(self, task: TaskSignature, arguments: Mapping[str, Any]) -> _EmbedRun:
        """See :class:`~pillion.backends.api.TaskModel`. Its only task is ``embed``."""
        del task
        return _EmbedRun(self, arguments["texts"])

    def predict(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        interrupt: Interrupt | None,
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`. A call that is given up ends with its batch of texts."""
        (given,) = inputs
        if given is None:  # the text is not optional
            raise TypeError("no text")
        texts: list[str] = text.decode(given.data, given.name).ravel().tolist()
        vectors, _ = self.embed(texts, interrupt)
        return [Tensor(name, Datatype.FP32, vectors) for name in outputs]

    def embed(self, texts: list[str], interrupt: Interrupt | None) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
        """The vectors (N, D) of N texts, and the tokens that were computed of."""
        self._threads.use()
        vectors = np.empty((len(texts), self._size), np.float32)
        if not texts:
            return vectors, 0
        tokens = self._tokens(texts)
        lengths = [len(row) for row in tokens["input_ids"]]
        if not all(lengths):
            raise ValueError("a text is empty, and the model's tokenizer has no token for that")
        for places in batches(lengths, self._costs):
            if interrupt is not None and interrupt.fired:
                raise InterruptedError("the call was given up")
            vectors[places] = self._computed(tokens, places)
        return vectors, sum(lengths)

    def _tokens(self, texts: list[str]) -> dict[str, list[list[int]]]:
        """What the tokenizer makes of all texts at once, not padded."""
        how = self._preparation
        texts = [how.prompt + (one.lower() if how.lower else one) for one in texts]
        return dict(
            self._tokenizers.own(
                texts, padding=False, truncation=how.longest is not None, max_length=how.longest, verbose=False
            )
        )

    def _computed(
        self, tokens: Mapping[str, list[list[int]]], places: list[int]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The vectors of the texts at these places, which are padded to the longest of them."""
        device = self._encoder.device
        given = {
            name: torch.from_numpy(matrix).to(device)
            for name, matrix in padded(tokens, self._fill, places, left=self._left).items()
        }
        with torch.inference_mode():
            found = self._encoder(**given, return_dict=True).last_hidden_state
            vectors = self._pool(found, given["attention_mask"])
            for step in self._steps:
                vectors = step(vectors.float())
        embedded: np.ndarray[Any, np.dtype[np.float32]] = vectors.float().cpu().numpy()
        return embedded

    def close(self) -> None:
        """The model's memory goes with the last reference to it."""


class _EmbedRun:
    """One call of ``embed`` (see :class:`~pillion.backends.api.TaskRun`)."""

    def __init__(self, model: EmbeddingModel, texts: list[str]) -> None:
        self._model = model
        self._texts = texts
        self.value: Embedded | None = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        del inputs, outputs
        self.value = Embedded(*self._model.embed(self._texts, interrupt))
        return []


class EmbeddingBackend:
    """Loads folders of sentence-transformers and of transformers."""

    def load(self, path: Path, options: LoadOptions) -> EmbeddingModel:
        """Load encoder, tokenizer and the steps after them onto the device that was asked for."""
        artifact = detect(path, "embeddings")
        if artifact.kind in {FileKind.EMBEDDER_PICKLE, FileKind.HUB_PICKLE} and not options.allow_pickle:
            raise unsafe_refusal(path, artifact.kind)
        check_parameters(options)
        modules = _modules(path)
        where = modules[0].folder
        device = device_for(options)
        threads = OperatorThreads(options)
        pool = pooling(modules[1].folder) if len(modules) > 1 else Pooling()
        steps = later_steps(modules[2:], options, device)
        tokenizer = load_tokenizer(where)
        if tokenizer.pad_token_id is None:  # which token it is does not matter: it is masked
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        encoder = load_model(where, transformers.AutoModel, options, device, unused=("pooler.",))
        how = _preparation(path, where, tokenizer, encoder.config)
        try:
            return EmbeddingModel(where, encoder, tokenizer, pool, steps, how, threads)
        except Exception as error:
            raise ModelLoadError(
                f"the {type(encoder).__name__} in {path.name} embeds no text: {type(error).__name__}: {error}",
                "encoders of text are served; for others serve a class of your own",
            ) from error


def _modules(folder: Path) -> tuple[Module, ...]:
    """Transformer, Pooling, and what comes after them.

    Raises:
        ModelLoadError: it does not begin with these two.
    """
    if not (folder / "modules.json").is_file():
        return (Module("Transformer", folder),)
    modules = modules_of(folder)
    kinds = [module.kind for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ModelLoadError(
            f"modules.json begins with {', '.join(kinds[:2])}, and Transformer and Pooling are served",
            "serve a class of your own that loads it with sentence-transformers",
        )
    return modules


def _preparation(folder: Path, where: Path, tokenizer: Any, config: Any) -> _Preparation:  # noqa: ANN401 - as above
    ours = _document(where / "sentence_bert_config.json")
    whole = _document(folder / "config_sentence_transformers.json")
    bounds = [ours.get("max_seq_length"), longest(tokenizer, config)]
    known = [bound for bound in bounds if isinstance(bound, int)]
    prompts = whole.get("prompts") or {}
    named = whole.get("default_prompt_name")
    if named is not None and named not in prompts:
        raise ModelLoadError(
            f"config_sentence_transformers.json has no prompt {named!r}, its default", "add it, or name another"
        )
    return _Preparation(
        prompts.get(named, "") if named is not None else "",
        bool(ours.get("do_lower_case")),
        min(known) if known else None,
    )


def _document(file: Path) -> dict[str, Any]:
    document = read_json(file) if file.is_file() else {}
    return document if isinstance(document, dict) else {}


BACKEND: Final = EmbeddingBackend()
