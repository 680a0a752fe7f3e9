"""Triton's gRPC client against a model that answers several times. Prints one JSON object of cases."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

results = {}


def asked(text, **options):
    given = triton.InferInput("text_input", [1], "BYTES")
    given.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
    return {"model_name": "story", "inputs": [given], **options}


def pieces(count, *requests, leave=False):
    """What the first ``count`` answers hold: id, text, final flag; or the error."""
    answers = queue.Queue()
    client = triton.InferenceServerClient(sys.argv[1])
    client.start_stream(lambda result, error: answers.put((result, error)))
    for request in requests:
        client.async_stream_infer(**request)
    found = []
    for _ in range(count):
        result, error = answers.get(timeout=30)
        if error is not None:
            found.append(["error", error.message()])
            continue
        response = result.get_response()
        text = result.as_numpy("text_output")
        final = response.parameters["triton_final_response"].bool_param
        found.append([response.id, None if text is None else text[0].decode(), final])
    client.stop_stream(cancel_requests=leave)
    client.close()
    return found


results["pieces"] = pieces(2, asked("a", request_id="1", parameters={"max_tokens": 2}))
results["final"] = pieces(
    6,
    asked("a", request_id="1", enable_empty_final_response=True, parameters={"max_tokens": 2}),
    asked("b", request_id="2", enable_empty_final_response=True, parameters={"max_tokens": 2}),
)
results["refused"] = pieces(2, asked("a", parameters={"top_k": 2}), asked("a", parameters={"max_tokens": 1}))
results["fails"] = pieces(2, asked("a", parameters={"fail_after": 1}))
results["leaves"] = pieces(1, asked("a", parameters={"max_tokens": 1_000_000}), leave=True)
print(json.dumps(results))
