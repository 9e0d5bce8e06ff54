import base64
import json
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from salver.artifact.pixels import decode, to_pixels
from service.app import NOTHING_HERE, create_app
from service.limits.request import Keys
from service.service import Service
from service.settings import Settings
from tests.support.images import photo, solid
from tests.support.live import free_port, running_service, service_process, wait_until_ready
from tests.support.models import PROBE_LABELS, SPEC, Constants, nan_for_white, probe, write

pytestmark = pytest.mark.server

PHOTOS = [photo(64, 48, seed) for seed in range(3)]
BROKEN = photo(60, 50)[:400]
KEY = {"Authorization": "Bearer one"}
INFER = "/v2/models/cups/infer"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    model = probe(tmp_path_factory.mktemp("model") / "model.onnx")
    with running_service(model, model_name="cups", api_keys="one", max_items=8, max_body_bytes=1_000_000) as client:
        client.headers.update(KEY)
        yield client


@pytest.fixture(scope="module")
def triton(service: httpx.Client) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(service.base_url.netloc.decode()) as client:
        yield client


def images(files: list[bytes], binary: bool = True, column: bool = False) -> InferInput:
    array = np.array(files if binary else [base64.b64encode(file) for file in files], dtype=np.object_)
    return tensor("image", "BYTES", array[:, np.newaxis] if column else array, binary)


def pixels(files: list[bytes], binary: bool = True) -> InferInput:
    return tensor("pixels", "UINT8", np.stack([to_pixels(decode(file, SPEC), SPEC) for file in files]), binary)


def tensor(name: str, datatype: str, array: NDArray[np.generic], binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def scores(service: httpx.Client, files: list[bytes], **parameters: object) -> NDArray[np.float64]:
    items = [{"image_in_base64": base64.b64encode(file).decode(), "parameters": parameters} for file in files]
    return np.array([answer["scores"] for answer in service.post("/score", json=items).json()])


def request(**changes: object) -> dict[str, object]:
    """A JSON request with one image; `changes` go into its tensor."""
    whole = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(PHOTOS[0]).decode()]}
    return {"inputs": [{name: value for name, value in (whole | changes).items() if value is not None}]}


def refused(
    service: httpx.Client,
    status: int,
    json: object = None,
    content: bytes | None = None,
    headers: dict[str, str] | dict[bytes, bytes] | None = None,
) -> str:
    """The text of the error that the request is answered with."""
    answer = service.post(INFER, json=json, content=content, headers=headers)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert len(answer.content) < 1000
    return str(answer.json()["error"])


def test_tritons_client_finds_server_and_model_alive_ready_and_described(
    service: httpx.Client, triton: InferenceServerClient
) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("cups")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    version = service.get("/model").json()["version"]
    assert triton.is_model_ready("cups", version)
    assert triton.get_model_metadata("cups", version, headers=KEY) == {
        "name": "cups",
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, 32, 32, 3]},
        ],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, 12]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 12]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["image", "image in a column", "pixels"])
def test_tritons_client_gets_the_scores_of_the_scoring_api(
    service: httpx.Client, triton: InferenceServerClient, kind: str, binary: bool
) -> None:
    sent = pixels(PHOTOS, binary) if kind == "pixels" else images(PHOTOS, binary, kind != "image")
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities", "logits")]
    answer = triton.infer("cups", [sent], outputs=outputs, request_id="seven", headers=dict(KEY))
    response = answer.get_response()
    assert (response["id"], response["model_name"]) == ("seven", "cups")
    assert [output["name"] for output in response["outputs"]] == ["label", "probabilities", "logits"]
    logits, probabilities = (answer.as_numpy(name).reshape(3, 12) for name in ("logits", "probabilities"))
    assert logits.dtype == probabilities.dtype == np.float32
    np.testing.assert_allclose(logits, scores(service, PHOTOS), atol=1e-6)
    np.testing.assert_allclose(probabilities, scores(service, PHOTOS, add_softmax=True), atol=1e-6)
    labels = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("label")]
    assert labels == [PROBE_LABELS[best] for best in logits.argmax(axis=1)]


def test_every_output_is_answered_as_bytes_when_none_is_named(triton: InferenceServerClient) -> None:
    answer = triton.infer("cups", [images(PHOTOS)], headers=dict(KEY), request_compression_algorithm="gzip")
    shapes = {output["name"]: output["shape"] for output in answer.get_response()["outputs"]}
    assert shapes == {"logits": [3, 12], "probabilities": [3, 12], "label": [3]}
    assert answer.as_numpy("logits").shape == (3, 12)


def test_a_version_in_the_address_is_the_one_that_answers(service: httpx.Client, triton: InferenceServerClient) -> None:
    version = service.get("/model").json()["version"]
    answer = triton.infer("cups", [images(PHOTOS)], version, headers=dict(KEY)).get_response()
    assert answer["model_version"] == version
    with pytest.raises(InferenceServerException, match="version is not served"):
        triton.infer("cups", [images(PHOTOS)], "1", headers=dict(KEY))


def test_tritons_client_is_told_which_image_is_broken_and_why(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"Image 1: .*truncated or corrupt") as caught:
        triton.infer("cups", [images([PHOTOS[0], BROKEN])], headers=dict(KEY))
    assert caught.value.status() == "422"


def test_json_without_parameters_is_answered_in_json_alone(service: httpx.Client) -> None:
    answer = service.post(INFER, json=request(shape=[1, 1], data=[[base64.b64encode(PHOTOS[0]).decode()]]))
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert answer.headers["x-model-version"] == answer.json()["model_version"]
    assert "id" not in answer.json()
    logits, _, label = answer.json()["outputs"]
    assert logits["data"] == pytest.approx(scores(service, PHOTOS[:1])[0], abs=1e-6)
    assert label == {
        "name": "label",
        "datatype": "BYTES",
        "shape": [1],
        "data": [PROBE_LABELS[np.argmax(logits["data"])]],
    }


def test_nested_pixels_in_json_are_the_same_as_flat_ones(service: httpx.Client) -> None:
    array = to_pixels(decode(PHOTOS[0], SPEC), SPEC)[np.newaxis]
    form = {"name": "pixels", "datatype": "UINT8", "shape": list(array.shape)}
    nested = service.post(INFER, json=request(**form, data=array.tolist()))
    flat = service.post(INFER, json=request(**form, data=array.ravel().tolist()))
    assert nested.status_code == 200
    assert nested.json() == flat.json()


def test_a_single_output_may_be_bytes_while_another_is_json(service: httpx.Client) -> None:
    outputs = [{"name": "label"}, {"name": "logits", "parameters": {"binary_data": True}}]
    answer = service.post(INFER, json={**request(), "outputs": outputs})
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    label, logits = json.loads(answer.content[:length])["outputs"]
    assert label["data"][0] in PROBE_LABELS
    assert logits["parameters"] == {"binary_data_size": 48}
    values = struct.unpack("<12f", answer.content[length:])
    assert values == pytest.approx(scores(service, PHOTOS[:1])[0], abs=1e-6)


def test_what_is_meant_for_other_servers_is_read_over(service: httpx.Client) -> None:
    whole = request(parameters={"content_type": "base64"})
    others = {"parameters": {"priority": 3, "timeout": 5}, "model_name": "cups", "id": None, "outputs": None}
    assert service.post(INFER, json={**whole, **others}).json() == service.post(INFER, json=request()).json()


def test_a_label_under_its_threshold_is_empty(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["scaled", "middle"], ["logits"], keepdims=0)]
    constants: Constants = {"over": np.float32(1 / 255), "middle": np.array([1, 2])}
    model = write(tmp_path / "model.onnx", nodes, constants, ("r", "g", "b"), thresholds={"r": 0.5, "g": 0.99})
    with running_service(model) as client:
        sent = [base64.b64encode(solid(colour)).decode() for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
        answer = client.post("/v2/models/salver/infer", json=request(shape=[3], data=sent))
    assert answer.json()["outputs"][2]["data"] == ["r", "", "b"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [2]}, "the shape says 2 images and data holds 1"),
        ({"shape": [1, 2]}, "neither [n] nor [n, 1]"),
        ({"shape": [0], "data": []}, "1 to 8"),
        ({"shape": [9]}, "1 to 8"),
        ({"shape": [-1]}, "inputs, item 0, shape, item 0"),
        ({"shape": [10**4000]}, "inputs, item 0, shape, item 0"),
        ({"shape": ["1"]}, "inputs, item 0, shape, item 0"),
        ({"shape": []}, "inputs, item 0, shape"),
        ({"shape": [1] * 500}, "inputs, item 0, shape"),
        ({"datatype": "FP32"}, "'pixels' with the datatype UINT8"),
        ({"datatype": None}, "inputs, item 0"),
        ({"datatype": ["BYTES"]}, "inputs, item 0"),
        ({"name": "photo"}, "inputs, item 0, name"),
        ({"data": [7]}, "not a list of image files in base64"),
        ({"data": [["a", "b"]]}, "not a list of image files in base64"),
        ({"data": None}, "either data or the parameter binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": 9}}, "after the JSON come 0 bytes"),
        ({"parameters": {"binary_data_size": 9}}, "either data or the parameter binary_data_size"),
        ({"data": None, "parameters": {"shared_memory_region": "x"}}, "either data or the parameter"),
        ({"raw": 1}, "Unknown field: inputs, item 0, raw"),
        ({"data": ["%%%"]}, "Image 0: The text is not base64"),
        ({"data": [""]}, "Image 0: The base64 text is empty"),
        ({"data": [base64.b64encode(b"text").decode()]}, "Image 0: "),
    ],
)
def test_a_wrong_image_tensor_is_refused_in_the_protocols_form(
    service: httpx.Client, changes: dict[str, object], words: str
) -> None:
    assert words in refused(service, 422, json=request(**changes))


@pytest.mark.parametrize(
    ("shape", "data", "words"),
    [
        ([1, 32, 33, 3], [0], "[n, 32, 32, 3]"),
        ([1, 3072], [0], "[n, 32, 32, 3]"),
        ([1, 32, 32, 3], [0] * 3071, "3072 values"),
        ([1, 32, 32, 3], [[[[0] * 3] * 32] * 31], "3072 values"),
        ([1, 32, 32, 3], [[[[0] * 3] * 31 + [[0]]] * 32], "not all of one length"),
        ([1, 32, 32, 3], [256] + [0] * 3071, "0 to 255"),
        ([1, 32, 32, 3], [-1] + [0] * 3071, "0 to 255"),
        ([1, 32, 32, 3], [10**30] + [0] * 3071, "0 to 255"),
        ([1, 32, 32, 3], [0.5] + [0] * 3071, "whole numbers"),
        ([1, 32, 32, 3], [None] * 3072, "whole numbers"),
        ([1, 32, 32, 3], "AAAA", "whole numbers"),
    ],
)
def test_wrong_pixels_are_refused_in_the_protocols_form(
    service: httpx.Client, shape: list[int], data: object, words: str
) -> None:
    assert words in refused(service, 422, json=request(name="pixels", datatype="UINT8", shape=shape, data=data))


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([{"name": "embedding"}], "outputs, item 0, name"),
        ([{"name": "logits", "parameters": {"classification": 3}}], "classification"),
        ([{"name": "logits"}] * 7, "outputs"),
    ],
)
def test_outputs_that_cannot_be_given_are_refused(service: httpx.Client, outputs: list[object], words: str) -> None:
    assert words in refused(service, 422, json={**request(), "outputs": outputs})


def framed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (framed(PHOTOS[0]) + b"x", "1 times"),
        (framed(PHOTOS[0])[:-1], "1 times"),
        (b"\xff\xff\xff\xff", "1 times"),
        (b"\x01", "1 times"),
        (b"", "1 times"),
        (framed(b""), "Image 0: "),
        (framed(BROKEN), "Image 0: "),
    ],
)
def test_wrong_binary_images_are_refused_in_the_protocols_form(service: httpx.Client, raw: bytes, words: str) -> None:
    text = json.dumps(request(data=None, parameters={"binary_data_size": len(raw)})).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)), "Content-Type": "application/octet-stream"}
    assert words in refused(service, 422, content=text + raw, headers=headers)


def test_bytes_that_no_tensor_asks_for_are_refused(service: httpx.Client) -> None:
    text = json.dumps(request()).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    assert "after the JSON come 2 bytes" in refused(service, 422, content=text + b"xy", headers=headers)


@pytest.mark.parametrize("length", ["-1", "1e3", "", "x", "99999999", "9" * 5000, "²"])
def test_a_wrong_json_length_is_refused(service: httpx.Client, length: str) -> None:
    headers = {b"Inference-Header-Content-Length": length.encode()}
    assert "Inference-Header-Content-Length" in refused(service, 422, json=request(), headers=headers)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "EOF"),
        (b"{", 400, "EOF"),
        (b"\xff\xfe", 400, ""),
        (b"[" * 100_000, 400, "recursion"),
        (b"[]", 422, "not the object of a request"),
        (b"{}", 422, "inputs"),
        (b'{"inputs": []}', 422, "inputs"),
        (b'{"inputs": [{}]}', 422, "inputs, item 0"),
        (b'{"inputs": [{"datatype": "BYTES"}, {"datatype": "BYTES"}]}', 422, "inputs"),
        (b'{"id": 7, "inputs": []}', 422, "id"),
        (b"[" + b"0," * 2**18 + b"0]", 422, "not the object of a request"),
        (b"[" + b" " * 1_000_000 + b"]", 413, "1000000 bytes"),
    ],
)
def test_a_malformed_body_is_refused_in_the_protocols_form(
    service: httpx.Client, body: bytes, status: int, words: str
) -> None:
    assert words in refused(service, status, content=body)


def test_more_json_numbers_than_the_limit_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx")) as client:
        body = b'{"inputs": [' + b"0," * 2**19 + b"0]}"
        answer = client.post("/v2/models/salver/infer", content=body)
    assert answer.status_code == 422
    assert "send the tensor as binary data" in answer.json()["error"]


def test_another_content_type_is_refused(service: httpx.Client) -> None:
    assert "Content-Type" in refused(service, 415, content=b"{}", headers={"Content-Type": "text/plain"})


def test_scoring_and_metadata_need_a_key_and_health_needs_none(service: httpx.Client) -> None:
    without = {"Authorization": ""}
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/cups/ready"):
        assert service.get(path, headers=without).status_code == 200
    for answer in (service.get("/v2/models/cups", headers=without), service.post(INFER, json={}, headers=without)):
        assert answer.status_code == 401
        assert "Authorization: Bearer KEY" in answer.json()["error"]
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["", "/ready", "/versions/1", "/versions/1/ready"])
def test_another_models_name_or_version_is_not_found(service: httpx.Client, path: str) -> None:
    for address in {f"/v2/models/other{path}"} | ({f"/v2/models/cups{path}"} if "versions" in path else set()):
        answer = service.get(address)
        assert answer.status_code == 404
        assert "is served" in answer.json()["error"] or "is not served" in answer.json()["error"]


def test_addresses_that_do_not_exist_are_answered_in_the_protocols_form(service: httpx.Client) -> None:
    for path, status in (("/v2/repository/index", 404), (INFER, 405)):
        answer = service.get(path)
        assert (answer.status_code, answer.json()) == (status, {"error": NOTHING_HERE})
    assert "title" in service.get("/v2x").json()


def test_a_passed_deadline_is_answered_as_by_the_scoring_api(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), request_timeout_seconds=0.001) as client:
        large = base64.b64encode(photo(3000, 2000)).decode()
        answer = client.post("/v2/models/salver/infer", json=request(data=[large]))
    assert answer.status_code == 504
    assert "0.001 seconds" in answer.json()["error"]


def test_a_full_queue_is_answered_as_by_the_scoring_api(tmp_path: Path) -> None:
    large = base64.b64encode(photo(2000, 1500)).decode()
    sent = request(shape=[8], data=[large] * 8)
    with (
        running_service(probe(tmp_path / "model.onnx"), max_items=8, max_queue_images=8) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(pool.map(lambda _: client.post("/v2/models/salver/infer", json=sent), range(4)))
    refusals = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(refusals) <= 3
    assert {answer.headers["retry-after"] for answer in refusals} == {"1"}
    assert "the limit is 8" in refusals[0].json()["error"]


def test_scores_that_are_not_numbers_are_an_error_and_no_answer(tmp_path: Path) -> None:
    white = base64.b64encode(solid((255, 255, 255))).decode()
    with running_service(nan_for_white(tmp_path / "model.onnx")) as client:
        answer = client.post("/v2/models/salver/infer", json=request(data=[white]))
    assert answer.status_code == 500
    assert answer.json() == {"error": "Image 0: The model gave non-finite scores for this image."}


def test_a_draining_service_is_not_ready_and_goes_on_scoring(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="600") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        process.send_signal(signal.SIGTERM)
        while (ready := client.get("/v2/health/ready")).is_success:
            pass
        assert (ready.status_code, ready.json()) == (503, {"error": "The service is draining."})
        assert client.get("/v2/models/salver/ready").status_code == 503
        assert client.post("/v2/models/salver/infer", json=request()).status_code == 200


@pytest.mark.anyio
async def test_before_the_model_is_there_everything_but_liveness_is_unavailable() -> None:
    settings = Settings(model="model.onnx")
    transport = httpx.ASGITransport(create_app(Service(settings, Keys([]))))
    async with httpx.AsyncClient(transport=transport, base_url="http://salver") as client:
        assert (await client.get("/v2/health/live")).status_code == 200
        for path in ("/v2/health/ready", "/v2/models/salver", "/v2/models/salver/ready"):
            assert (await client.get(path)).status_code == 503
        answer = await client.post("/v2/models/salver/infer", json=request())
    assert answer.status_code == 503
    assert "/readyz" in answer.json()["error"]


def test_the_routes_are_described(service: httpx.Client) -> None:
    described = service.get("/openapi.json").json()
    assert {path for path in described["paths"] if path.startswith("/v2")} == {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{name}",
        "/v2/models/{name}/ready",
        "/v2/models/{name}/infer",
    }
    operation = described["paths"]["/v2/models/{name}/infer"]["post"]
    assert set(operation["responses"]) == {"200", "4XX", "5XX"}
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/InferRequest")
    assert "InferRequest" in described["components"]["schemas"]
