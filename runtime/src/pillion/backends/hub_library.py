"""What the two backends of Hugging Face share: loading by transformers, from a folder and from nowhere else.

Nothing is fetched, no code of the folder's is run, and no weight is made up.
"""

from __future__ import annotations

import copy
import os
import threading
from typing import TYPE_CHECKING, Any, Final

# Read when the libraries are imported: no look at the hub, no telemetry, no pool of threads beside the server's own.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers

from pillion.backends.api import InputRule, LoadOptions, ModelLoadError
from pillion.backends.hub_folder import read_json
from pillion.backends.torch_tensors import LOADING
from pillion.model import Libraries
from pillion.tensors import Datatype, TensorSpec
from pillion.wording import listing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "TEXT",
    "Tokenizers",
    "check_parameters",
    "libraries",
    "load_model",
    "load_tokenizer",
    "longest",
    "text_rule",
]

TEXT: Final = "text"
"""Name of the input of all models here."""
_KNOWN: Final = frozenset({"device", "intraOpThreads"})
_UNBOUNDED: Final = 10**9
"""Tokenizers that know no longest text say a number far above this."""
_LISTED: Final = 4

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def text_rule(example: str = "") -> InputRule:
    """Texts: one dimension, or a column as some clients send them."""
    spec = TensorSpec(TEXT, Datatype.BYTES, (-1,), example=example or None)
    return InputRule(spec, frozenset({Datatype.BYTES}), shapes=((-1, 1),))


def check_parameters(options: LoadOptions) -> None:
    """Refuse parameters that mean nothing here.

    Raises:
        ModelLoadError: names them.
    """
    unknown = sorted(options.parameters.keys() - _KNOWN)
    if unknown:
        raise ModelLoadError(
            f"parameters {', '.join(unknown)} are not known", f"there are: {', '.join(sorted(_KNOWN))}"
        )


def load_model(
    folder: Path,
    cls: Any,  # noqa: ANN401 - transformers has no types
    options: LoadOptions,
    device: torch.device,
    unused: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 - as above
    """A model in evaluation mode on its device.

    Args:
        folder: that ``save_pretrained`` wrote.
        cls: one of the library's ``AutoModel`` classes.
        options: whether weights may be a pickle.
        device: where it computes.
        unused: beginnings of the names of weights that nothing is computed with, which may be missing.

    Raises:
        ModelLoadError: it needs code of its own, or its weights are not there or not complete.
    """
    config = read_json(folder / "config.json")
    if (
        isinstance(config, dict)
        and config.get("auto_map")
        and config.get("model_type") not in transformers.CONFIG_MAPPING
    ):
        raise ModelLoadError(
            f"the model in {folder.name} is code of its own (auto_map in config.json), which is never run",
            "serve it as a class of yours that loads it: docs/how-to/own-python.md",
        )
    try:
        with LOADING:
            model, told = cls.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=None if options.allow_pickle else True,
                output_loading_info=True,
            )
    except Exception as error:
        raise ModelLoadError(
            f"{folder.name} could not be read by transformers {transformers.__version__}: {_first_line(error)}",
            "save it again with model.save_pretrained(FOLDER), or upload the whole folder again",
        ) from error
    missing = sorted(key for key in told["missing_keys"] if not key.startswith(unused))
    if missing:
        raise ModelLoadError(
            f"the weights in {folder.name} lack {listing(missing, _LISTED)}, which would be random numbers",
            "save the fine-tuned model, with its head: model.save_pretrained(FOLDER)",
        )
    return model.to(device).eval()


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - as above
    """The tokenizer in a folder.

    Raises:
        ModelLoadError: there is none, or it cannot be read.
    """
    remedy = "save it beside the model: tokenizer.save_pretrained(FOLDER)"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise ModelLoadError(f"the tokenizer in {folder.name} cannot be read: {_first_line(error)}", remedy) from error
    # Without its files, the library makes one that knows no words.
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise ModelLoadError(f"{folder.name} has no tokenizer: no file with its vocabulary is there", remedy)
    return tokenizer


def longest(tokenizer: Any, config: Any) -> int | None:  # noqa: ANN401 - as above
    """Tokens that a text may have; None where nobody says."""
    bounds = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    known = [bound for bound in bounds if isinstance(bound, int) and 0 < bound < _UNBOUNDED]
    return min(known) if known else None


def libraries(folder: Path) -> Libraries:
    """The versions of transformers that saved and load the folder."""
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    saved = config.get("transformers_version") if isinstance(config, dict) else None
    return Libraries(
        saved={"transformers": saved} if isinstance(saved, str) else {},
        loading={"transformers": transformers.__version__, "torch": torch.__version__},
    )


class Tokenizers(threading.local):
    """A tokenizer for each thread: one that pads or cuts holds that in itself, and threads that share it fail."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - as above
        self.own = copy.deepcopy(tokenizer)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
