"""Small models of transformers, saved as their library saves them: real architectures, made-up weights and words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.backends.api import LoadedModel

from pillion.backends.api import LoadOptions, backend_named
from pillion.tensors import Datatype
from tests.backends.nets import tensor

__all__ = ["WORDS", "bert", "embedder", "gpt", "load", "texts"]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["paris", "is", "the", "capital", "of", "france", "berlin", "germany", "good", "bad", "day", "a", "text"]
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tokenizer() -> Any:
    """One token for each known word, between [CLS] and [SEP]."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=16, **names)


def bert(folder: Path, head: str, **config: Any) -> Path:
    """A BERT with that class of head."""
    torch.manual_seed(7)
    sizes = {"vocab_size": len(SPECIAL) + len(WORDS), "max_position_embeddings": 16, **BERT}
    model = getattr(transformers, head)(transformers.BertConfig(**sizes, **config))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def gpt(folder: Path) -> Path:
    """A GPT-2 of two layers that continues texts of at most 32 tokens. Words that it does not know are "a" to it."""
    torch.manual_seed(7)
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    sizes = {"vocab_size": len(WORDS), "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    config = transformers.GPT2Config(**sizes, bos_token_id=None, eos_token_id=None)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder)
    return folder


def embedder(folder: Path, *modules: tuple[str, dict[str, Any]], lower: bool = False) -> Path:
    """A folder of sentence-transformers, in the layout of its older versions, around a BERT."""
    bert(folder, "BertModel")
    described = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, (kind, config) in enumerate(modules, 1):
        place = folder / f"{index}_{kind}"
        place.mkdir()
        (place / "config.json").write_text(json.dumps(config))
        described.append(
            {"idx": index, "name": str(index), "path": place.name, "type": f"sentence_transformers.models.{kind}"}
        )
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": lower}))
    return folder


def load(folder: Path, backend: str = "huggingface", **options: Any) -> LoadedModel:
    """The model in a folder."""
    return backend_named(backend).load(folder, LoadOptions(**options))


def texts(*given: str) -> Any:
    """A tensor of texts, as a request brings it."""
    found = tensor("text", [one.encode() for one in given], np.object_)
    assert Datatype.BYTES == found.datatype
    return found
