from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.transport.body_budget import BodyBudget
from pillion.transport.drain import DrainState
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.errors import HTTP_STATUS
from pillion.transport.http.options import AnswerRecord, DispatchOptions
from pillion.transport.management_access import ManagementAccess
from tests.unit.transport.plane import SmallPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
INFER = "/v2/models/double/infer"


async def fallback(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"fallback"})


@pytest.fixture
def plane() -> SmallPlane:
    return SmallPlane()


def client_of(plane: SmallPlane, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Dispatcher(plane, fallback, DispatchOptions(**options)))
    return httpx.AsyncClient(transport=transport, base_url="http://server")


@pytest.fixture
async def client(plane: SmallPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as client:
        yield client


async def test_inference_answers_with_model_version_and_outputs(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, json={**ROW, "id": "7"})
    assert 200 == answer.status_code
    assert {
        "model_name": "double",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}],
    } == answer.json()
    assert str(len(answer.content)) == answer.headers["content-length"]


async def test_raw_tensors_go_in_and_out_behind_the_document(client: httpx.AsyncClient) -> None:
    array = np.array([[1, 2, 3, 4]], np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": array.nbytes}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    answer = await client.post(
        INFER,
        content=header + array.tobytes(),
        headers={
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(header)),
        },
    )
    length = int(answer.headers["inference-header-content-length"])
    assert "application/octet-stream" == answer.headers["content-type"]
    assert {"binary_data_size": 16} == json.loads(answer.content[:length])["outputs"][0]["parameters"]
    assert (array * 2).tobytes() == answer.content[length:]


async def test_a_version_in_the_path_is_the_version_that_answers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v2/models/double/versions/2/infer", json=ROW)
    assert "2" == answer.json()["model_version"]


@pytest.mark.parametrize("path", ["/v2/models/none/infer", "/v2/models/double/versions/9/infer"])
async def test_an_unknown_model_or_version_is_404_with_the_known_sentence(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=ROW)
    assert (404, "unknown_model") == (answer.status_code, answer.json()["code"])
    assert answer.json()["error"].startswith("Request for unknown model")


def entry(model: str) -> dict[str, object]:
    """What OpenAI's clients read of it."""
    return {"id": model, "object": "model", "created": 0, "owned_by": "pillion"}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/double/ready", {"name": "double", "ready": True}),
        ("/v2/models/double/versions/2/ready", {"name": "double", "ready": True}),
        ("/v2/models", {"models": ["double", "echo", "slow", "nan", "broken", "table", "loading"]}),
        ("/v1/models/double", {"name": "double", "ready": True} | entry("double")),
        ("/v1/models/loading", {"name": "loading", "ready": False} | entry("loading")),
        (
            "/v2/models/double",
            {
                "name": "double",
                "versions": ["1", "2"],
                "platform": "test_double",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
            },
        ),
    ],
)
async def test_the_data_plane_is_described(client: httpx.AsyncClient, path: str, document: object) -> None:
    answer = await client.get(path)
    assert (200, document) == (answer.status_code, answer.json())
    assert document == (await client.get(f"{path}/")).json()


async def test_the_root_lists_models_and_links(client: httpx.AsyncClient) -> None:
    document = (await client.get("/")).json()
    assert {"name": "double", "version": "2", "state": "READY"} in document["models"]
    assert "/v2/models" == document["links"]["models"]


async def test_head_answers_like_get_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v2/health/live")
    assert (200, b"", "13") == (answer.status_code, answer.content, answer.headers["content-length"])


async def test_not_ready_is_503_with_the_models_that_are_missing(client: httpx.AsyncClient, plane: SmallPlane) -> None:
    plane.is_ready = False
    answer = await client.get("/v2/health/ready")
    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "loading (LOADING)" in answer.json()["error"]


async def test_a_model_that_is_loading_is_503_with_its_own_retry_after(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v2/models/loading/infer", json=ROW)
    assert (503, "2", "not_ready") == (answer.status_code, answer.headers["retry-after"], answer.json()["code"])
    assert 503 == (await client.get("/v2/models/loading/ready")).status_code


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_error_code_has_its_status_and_the_protocols_shape(
    client: httpx.AsyncClient, plane: SmallPlane, code: ErrorCode
) -> None:
    plane.failure = PillionError(code, "sentence", remedy="remedy")
    answer = await client.post(INFER, json=ROW, headers={"x-request-id": "abc"})
    assert HTTP_STATUS[code] == answer.status_code
    assert {"error": "sentence (remedy)", "code": code.value, "id": "abc"} == answer.json()


def test_the_table_of_statuses_is_exhaustive_and_never_says_422() -> None:
    assert set(ErrorCode) == set(HTTP_STATUS)
    assert 422 not in HTTP_STATUS.values()


async def test_an_unexpected_failure_is_500_without_its_text(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post("/v2/models/broken/infer", json=ROW)
    assert (500, "internal") == (answer.status_code, answer.json()["code"])
    assert "secret" not in answer.text
    assert answer.json()["id"] == caplog.records[0].__dict__["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "POST"),
        ("PUT", INFER, "POST"),
        ("POST", "/v2", "GET, HEAD"),
        ("DELETE", "/v2/models/double", "GET, HEAD"),
        ("GET", "/v1/models/double:predict", "POST"),
        ("GET", "/v2/repository/index", "POST"),
    ],
)
async def test_the_wrong_method_is_405_with_allow(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    assert (405, allow, "method_not_allowed") == (answer.status_code, answer.headers["allow"], answer.json()["code"])


@pytest.mark.parametrize(
    "media",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/octet-stream",
    ],
)
async def test_these_content_types_are_accepted(client: httpx.AsyncClient, media: str | None) -> None:
    headers = {} if media is None else {"content-type": media}
    assert 200 == (await client.post(INFER, content=json.dumps(ROW), headers=headers)).status_code


@pytest.mark.parametrize(
    ("media", "text"),
    [
        ("application/x-www-form-urlencoded", "curl --json"),
        ("multipart/form-data; boundary=x", "curl --json"),
        ("text/plain", "curl --json"),
        ("application/json; charset=latin-1", "UTF-8"),
    ],
)
async def test_other_content_types_are_415_with_the_remedy(client: httpx.AsyncClient, media: str, text: str) -> None:
    answer = await client.post(INFER, content=json.dumps(ROW), headers={"content-type": media})
    assert (415, "close") == (answer.status_code, answer.headers["connection"])
    assert text in answer.json()["error"]


async def test_a_body_beyond_the_limit_is_413_by_its_length_and_by_its_chunks(plane: SmallPlane) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 10

    async with client_of(plane, max_body_bytes=100) as client:
        whole = await client.post(INFER, content=b" " * 101)
        chunked = await client.post(INFER, content=chunks())
    for answer in (whole, chunked):
        assert (413, "payload_too_large") == (answer.status_code, answer.json()["code"])
        assert "limits.max_body_bytes" in answer.json()["error"]


async def test_a_body_in_many_chunks_is_one_request(client: httpx.AsyncClient) -> None:
    count = 300_000
    array = np.arange(count, dtype=np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [count], "parameters": {"binary_data_size": array.nbytes}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = header + array.tobytes()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    answer = await client.post(
        "/v2/models/echo/infer", content=chunks(), headers={"inference-header-content-length": str(len(header))}
    )
    assert array.tobytes() == answer.content[int(answer.headers["inference-header-content-length"]) :]


@pytest.mark.parametrize("identity", ["abc-123", "a" * 128, "req:1/2=3"])
async def test_a_request_id_is_taken_and_echoed(client: httpx.AsyncClient, plane: SmallPlane, identity: str) -> None:
    answer = await client.post(INFER, json=ROW, headers={"x-request-id": identity})
    assert (identity, identity) == (answer.headers["x-request-id"], plane.calls[0].request_id)


@pytest.mark.parametrize("identity", ["", "a b", "a" * 129, "-x", "a\tb", "\u00e9"])
async def test_a_request_id_that_is_unsafe_to_log_is_replaced(client: httpx.AsyncClient, identity: str) -> None:
    headers = [(b"x-request-id", identity.encode())]
    made = [(await client.post(INFER, json=ROW, headers=headers)).headers["x-request-id"] for _ in range(2)]
    assert identity not in made
    assert 2 == len(set(made))


async def test_the_time_out_header_becomes_the_deadline(plane: SmallPlane) -> None:
    async with client_of(plane, clock=lambda: 100.0) as client:
        await client.post(INFER, json=ROW, headers={"x-request-timeout-seconds": "2.5"})
        await client.post(INFER, json=ROW)
    assert [102.5, None] == [call.deadline for call in plane.calls]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
async def test_a_time_out_that_is_no_time_is_400(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.post(INFER, json=ROW, headers={"x-request-timeout-seconds": value})
    assert 400 == answer.status_code
    assert "X-Request-Timeout-Seconds" in answer.json()["error"]


@pytest.mark.parametrize("value", ["-1", "x", "1" * 19, "99999"])
async def test_a_header_length_that_cannot_be_is_400(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.post(INFER, json=ROW, headers={"inference-header-content-length": value})
    assert 400 == answer.status_code
    assert "Inference-Header-Content-Length" in answer.json()["error"]


async def test_names_may_be_percent_encoded(client: httpx.AsyncClient) -> None:
    assert 200 == (await client.post("/v2/models/dou%62le/infer", json=ROW)).status_code


@pytest.mark.parametrize("path", ["/v2/models//infer", "/v2//models/double/infer", "/v2/models/double/x/infer"])
async def test_paths_are_taken_as_they_are(client: httpx.AsyncClient, path: str) -> None:
    assert 404 == (await client.post(path, json=ROW)).status_code


async def test_an_encoded_slash_stays_inside_the_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2/models/a%2Fready")
    assert (404, "unknown_model") == (answer.status_code, answer.json()["code"])
    assert "a%2Fready" in answer.json()["error"]


async def test_paths_below_v2_that_do_not_exist_are_404_in_the_protocols_shape(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2/nothing")
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("path", ["/docs", "/v1/chat", "/v1", "/api", "/v1/models/m:other"])
async def test_everything_else_is_the_fallbacks(client: httpx.AsyncClient, path: str) -> None:
    assert b"fallback" == (await client.get(path)).content


async def test_the_configuration_says_rows_apart_from_the_shape(client: httpx.AsyncClient) -> None:
    for path in ("/v2/models/double/config", "/v2/models/double/versions/2/config"):
        answer = await client.get(path)

        assert 200 == answer.status_code
        assert {"name": "double", "platform": "test_double", "max_batch_size": 16 * 1024 * 1024} == {
            key: answer.json()[key] for key in ("name", "platform", "max_batch_size")
        }
        assert [{"name": "x", "data_type": "TYPE_FP32", "dims": [4], "optional": False}] == answer.json()["input"]
        assert [{"name": "y", "data_type": "TYPE_FP32", "dims": [4]}] == answer.json()["output"]


async def test_a_configuration_without_rows_has_whole_shapes(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v2/models/echo/config")).json()

    assert (0, "TYPE_STRING", [-1]) == (
        answer["max_batch_size"], answer["input"][0]["data_type"], answer["input"][0]["dims"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/models/double/stats", [("double", "1"), ("double", "2")]),
        ("/v2/models/double/versions/2/stats", [("double", "2")]),
    ],
)
async def test_statistics_are_of_the_versions_asked_for(
    client: httpx.AsyncClient, path: str, expected: list[tuple[str, str]]
) -> None:
    told = (await client.get(path)).json()["model_stats"]

    assert expected == [(model["name"], model["version"]) for model in told]
    assert {"count": 2, "ns": 3_000_000} == told[0]["inference_stats"]["compute_infer"]
    assert [1, 2] == [batch["batch_size"] for batch in told[0]["batch_stats"]]


async def test_of_the_priorities_in_header_and_parameters_the_lower_one_holds(
    client: httpx.AsyncClient, plane: SmallPlane
) -> None:
    asked = [
        ({}, {}),
        ({}, {"priority": 2}),
        ({"x-request-priority": "3"}, {"priority": 1}),
        ({"x-request-priority": "1"}, {}),
    ]
    for headers, parameters in asked:
        await client.post(INFER, json={**ROW, "parameters": parameters}, headers=headers)
    assert [0, 2, 3, 1] == [call.priority for call in plane.calls]


@pytest.mark.parametrize("value", ["high", "-1", "1.5", ""])
async def test_a_priority_that_is_no_number_is_refused_by_name(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.post(INFER, json=ROW, headers={"x-request-priority": value})
    assert 400 == answer.status_code
    assert "X-Request-Priority" in answer.json()["error"]


async def test_a_timeout_in_the_parameters_shortens_the_deadline(client: httpx.AsyncClient, plane: SmallPlane) -> None:
    before = time.monotonic()
    await client.post(INFER, json={**ROW, "parameters": {"timeout": 200_000_000}})
    await client.post(
        INFER, json={**ROW, "parameters": {"timeout": 600_000_000}}, headers={"x-request-timeout-seconds": "300"}
    )
    await client.post(INFER, json={**ROW, "parameters": {"timeout": 0}})

    *limited, unlimited = (call.deadline for call in plane.calls)
    assert pytest.approx([200, 300], abs=40) == [(deadline or 0) - before for deadline in limited]
    assert unlimited is None


async def test_an_output_may_be_asked_for_as_its_best_classes(client: httpx.AsyncClient) -> None:
    outputs = [{"name": "y", "parameters": {"classification": 2}}]
    for binary in (False, True):
        answer = await client.post(
            INFER, json={**ROW, "outputs": outputs, "parameters": {"binary_data_output": binary}}
        )

        assert 200 == answer.status_code
        assert b"8.000000:3" in answer.content
        assert b"6.000000:2" in answer.content
        assert b'"BYTES","shape":[1,2]' in answer.content


async def test_an_explanation_is_what_the_model_says(client: httpx.AsyncClient, plane: SmallPlane) -> None:
    answer = await client.post("/v1/models/double:explain", json={"instances": [[1, 2, 3, 4], [0, 0, 0, 1]]})

    assert (200, {"explanations": [{"weight": 10.0}, {"weight": 1.0}]}) == (answer.status_code, answer.json())
    assert [WireProtocol.V1] == [call.protocol for call in plane.calls]


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [("table", 501, "explain beside predict"), ("none", 404, "Request for unknown model"), ("loading", 503, "loading")],
)
async def test_what_cannot_be_explained_is_said_with_the_remedy(
    client: httpx.AsyncClient, plane: SmallPlane, model: str, status: int, text: str
) -> None:
    answer = await client.post(f"/v1/models/{model}:explain", json={"instances": []})

    assert (status, [model]) == (answer.status_code, [name for _, _, name in plane.refusals])
    assert text in answer.json()["error"]


async def test_statistics_of_all_models_have_a_path_of_their_own(client: httpx.AsyncClient) -> None:
    told = (await client.get("/v2/models/stats")).json()["model_stats"]

    assert {("double", "1"), ("table", "1")} <= {(model["name"], model["version"]) for model in told}


@pytest.mark.parametrize("path", ["config", "stats"])
async def test_neither_configuration_nor_statistics_of_an_unknown_model(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/v2/models/none/{path}")

    assert (404, "unknown_model") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    ["systemsharedmemory/status", "systemsharedmemory/region/a/register", "cudasharedmemory/region/a/unregister"],
)
async def test_shared_memory_is_refused_with_what_to_do_instead(
    client: httpx.AsyncClient, path: str, method: str
) -> None:
    answer = await client.request(method, f"/v2/{path}")

    assert (501, "unimplemented") == (answer.status_code, answer.json()["code"])
    assert "send tensors as binary data" in answer.json()["error"]


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
async def test_extensions_that_are_to_come_are_501_and_404_for_unknown_models(
    client: httpx.AsyncClient, path: str
) -> None:
    method = "POST" if path.startswith("generate") else "GET"
    assert 501 == (await client.request(method, f"/v2/models/double/{path}")).status_code
    assert 404 == (await client.request(method, f"/v2/models/none/{path}")).status_code


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_management_is_403_with_the_setting_until_it_is_enabled(plane: SmallPlane, verb: str) -> None:
    path = f"/v2/repository/models/double/{verb}"
    async with client_of(plane) as client:
        answer = await client.post(path)
    assert (403, [], []) == (answer.status_code, plane.loaded, plane.unloaded)
    assert "management.enabled" in answer.json()["error"]
    async with client_of(plane, management=ManagementAccess(enabled=True)) as client:
        answer = await client.post(path, headers={"host": "localhost:8080"})
    assert (200, ["double"]) == (answer.status_code, plane.loaded if verb == "load" else plane.unloaded)


async def test_the_index_lists_models_and_can_leave_out_those_not_ready(client: httpx.AsyncClient) -> None:
    everything = (await client.post("/v2/repository/index")).json()
    ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
    assert {"name": "loading", "version": "1", "state": "LOADING", "reason": ""} in everything
    assert "loading" not in {entry["name"] for entry in ready}


async def test_v1_answers_rows(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/double:predict", json={"instances": [[1, 2, 3, 4]]})
    assert (200, {"predictions": [[2.0, 4.0, 6.0, 8.0]]}) == (answer.status_code, answer.json())
    rows = [{"age": 1, "town": "Ulm"}]
    answer = await client.post("/v1/models/table:predict", json={"instances": rows})
    assert {"predictions": [{"age": [1], "town": ["Ulm"]}]} == answer.json()


async def test_v1_says_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert 404 == (await client.post("/v1/models/none:predict", json={"instances": []})).status_code
    assert 503 == (await client.post("/v1/models/loading:predict", json={"instances": []})).status_code


async def test_answers_say_connection_close_while_draining(plane: SmallPlane) -> None:
    drain = DrainState()
    async with client_of(plane, drain=drain) as client:
        assert "connection" not in (await client.post(INFER, json=ROW)).headers
        drain.draining = True
        assert "close" == (await client.post(INFER, json=ROW)).headers["connection"]


async def test_each_answer_is_recorded(plane: SmallPlane) -> None:
    records: list[AnswerRecord] = []
    async with client_of(plane, on_answer=records.append) as client:
        await client.post(INFER, json=ROW, headers={"x-request-id": "a"})
        await client.post("/v2/models/none/infer", json=ROW)
    assert [("a", "POST", INFER, 200, "", "double"), (404, "unknown_model", "none")] == [
        (records[0].request_id, records[0].method, records[0].path, 200, records[0].code, records[0].model),
        (records[1].status, records[1].code, records[1].model),
    ]


async def test_a_mounted_dispatcher_answers_below_its_root(plane: SmallPlane) -> None:
    transport = httpx.ASGITransport(Dispatcher(plane, fallback), root_path="/models")
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.post(f"/models{INFER}", json=ROW)
    assert 200 == answer.status_code


@pytest.mark.parametrize(
    ("path", "body", "content_type", "expected"),
    [
        (INFER, b"{", "application/json", (ErrorCode.INVALID_ARGUMENT, WireProtocol.REST, "double")),
        (INFER, b"{}", "text/csv", (ErrorCode.UNSUPPORTED_MEDIA_TYPE, WireProtocol.REST, "double")),
        (INFER, b" " * 2048, "application/json", (ErrorCode.PAYLOAD_TOO_LARGE, WireProtocol.REST, "double")),
        (
            "/v1/models/double:predict",
            b"[]",
            "application/json",
            (ErrorCode.INVALID_ARGUMENT, WireProtocol.V1, "double"),
        ),
        ("/v1/models/none:predict", b"{}", "application/json", (ErrorCode.UNKNOWN_MODEL, WireProtocol.V1, "none")),
    ],
)
async def test_what_never_reaches_the_data_plane_is_counted_there_all_the_same(
    plane: SmallPlane, path: str, body: bytes, content_type: str, expected: tuple[ErrorCode, WireProtocol, str]
) -> None:
    async with client_of(plane, max_body_bytes=1024) as client:
        await client.post(path, content=body, headers={"content-type": content_type})
    assert [expected] == plane.refusals


async def test_what_the_data_plane_refuses_is_not_counted_twice(plane: SmallPlane, client: httpx.AsyncClient) -> None:
    assert 404 == (await client.post("/v2/models/none/infer", json=ROW)).status_code
    assert [] == plane.refusals


async def test_a_large_body_without_room_is_told_to_come_again(plane: SmallPlane) -> None:
    async with client_of(plane, bodies=BodyBudget(100_000)) as client:
        answer = await client.post(INFER, content=b"[" * 100_001, headers={"content-type": "application/json"})
        assert (429, "close", "1") == (
            answer.status_code,
            answer.headers["connection"],
            answer.headers["retry-after"],
        )
        assert "limits.max_body_bytes_in_flight" in answer.json()["error"]
        assert 200 == (await client.post(INFER, json=ROW)).status_code
