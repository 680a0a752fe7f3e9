"""A data frame by tritonclient, over HTTP and gRPC. Prints one JSON object: probabilities and labels by protocol."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from palmerpenguins import load_penguins

frame = load_penguins().drop(columns="species")
results = {}
for protocol, triton, address in (("http", tritonclient.http, sys.argv[1]), ("grpc", tritonclient.grpc, sys.argv[2])):
    client = triton.InferenceServerClient(address)
    inputs = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "if":
            data = column.to_numpy()
            datatype = {"i": "INT64", "f": "FP64"}[data.dtype.kind]
        else:
            data, datatype = column.fillna("").to_numpy(np.object_), "BYTES"
        given = triton.InferInput(name, [len(frame), 1], datatype)
        given.set_data_from_numpy(data.reshape(-1, 1))
        inputs.append(given)
    wanted = [triton.InferRequestedOutput(name) for name in ("predict", "predict_proba")]
    answer = client.infer("penguins", inputs, outputs=wanted)
    results[protocol] = {
        "predict": [label.decode() for label in answer.as_numpy("predict")],
        "predict_proba": answer.as_numpy("predict_proba").tolist(),
    }
    client.close()
print(json.dumps(results))
