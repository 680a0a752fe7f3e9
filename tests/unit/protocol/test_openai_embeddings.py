"""Vectors in OpenAI's form."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest

from pillion.authoring.finish import Embedded
from pillion.errors import PillionError
from pillion.protocol.openai_answer import encode_embeddings

VECTORS = np.arange(6).astype(np.float32).reshape(2, 3)


@pytest.mark.parametrize("lies", ["by rows", "by columns", "among others", "the other way round"])
def test_vectors_are_the_same_however_they_lie_in_memory(lies: str) -> None:
    vectors = {
        "by rows": VECTORS,
        "by columns": np.asfortranarray(VECTORS),
        "among others": np.repeat(VECTORS, 2, axis=1)[:, ::2],
        "the other way round": VECTORS.astype(">f4"),
    }[lies]
    data = orjson.loads(encode_embeddings(Embedded(vectors, 7), 2, "m", as_base64=False))["data"]
    packed = orjson.loads(encode_embeddings(Embedded(vectors, 7), 2, "m", as_base64=True))["data"]
    assert VECTORS.tolist() == [one["embedding"] for one in data]
    assert VECTORS.tolist() == [np.frombuffer(base64.b64decode(one["embedding"]), "<f4").tolist() for one in packed]
    assert [0, 1] == [one["index"] for one in packed]


def test_vectors_that_are_not_one_a_text_are_the_models_fault() -> None:
    with pytest.raises(PillionError, match=r"shape \[2, 3\] for 3 texts"):
        encode_embeddings(VECTORS, 3, "m", as_base64=False)
