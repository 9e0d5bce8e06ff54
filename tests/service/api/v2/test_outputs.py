"""The outputs of the Open Inference Protocol that not every model file has."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput  # type: ignore[import-untyped]

from tests.support.complete import BIAS, CELLS, complete
from tests.support.images import solid
from tests.support.live import running_service

pytestmark = pytest.mark.server

FILES = [solid((200, 30, 40)), solid((20, 180, 60)), solid((30, 40, 220))]
INFER = "/v2/models/salver/infer"
BESIDE = ("features", "familiarity", "heat")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(complete(tmp_path_factory.mktemp("model") / "model.onnx")) as client:
        yield client


def pixels(level: int, *names: str) -> dict[str, object]:
    """A JSON request of one grey image."""
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [level] * 32 * 32 * 3}
    return {"inputs": [tensor], "outputs": [{"name": name} for name in names]}


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_gets_them_by_name(service: httpx.Client, binary: bool) -> None:
    image = InferInput("image", [3], "BYTES").set_data_from_numpy(np.array(FILES, dtype=object))
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in ("heat", "logits", "familiarity", "features")]
    with InferenceServerClient(service.base_url.netloc.decode()) as client:
        answer = client.infer("salver", [image], outputs=wanted)
        described = {one["name"]: one["shape"] for one in client.get_model_metadata("salver")["outputs"]}
    heat, logits, features = (answer.as_numpy(name) for name in ("heat", "logits", "features"))
    assert heat.shape == (3, 3, CELLS, CELLS)
    np.testing.assert_allclose(heat.mean(axis=(2, 3)) + BIAS, logits, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(8 * features + BIAS, logits, atol=1e-5)
    assert answer.as_numpy("familiarity").tolist() == pytest.approx([1, 0, 0.05], abs=0.06)
    assert described == {
        "logits": [-1, 3],
        "probabilities": [-1, 3],
        "label": [-1],
        "features": [-1, 3],
        "familiarity": [-1],
        "heat": [-1, 3, CELLS, CELLS],
    }


def test_without_names_the_answer_is_what_it_was(service: httpx.Client) -> None:
    answer = service.post(INFER, json=pixels(90)).json()
    assert [one["name"] for one in answer["outputs"]] == ["logits", "probabilities", "label"]


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_that_does_not_have_it_says_why(tmp_path: Path, name: str) -> None:
    path = complete(tmp_path / "model.onnx", outputs=("logits",), schema_version=1)
    with running_service(path) as service:
        answer = service.post(INFER, json=pixels(90, "label", name))
        assert answer.status_code == 422
        assert answer.json()["error"] == (
            f"outputs, item 1: the model file has no '{name}': the file was exported by an earlier Salver. Export it "
            "again."
        )
        assert len(service.get("/v2/models/salver").json()["outputs"]) == 3


@pytest.mark.parametrize("name", ["features", "familiarity"])
def test_an_image_without_features_fails_the_request(service: httpx.Client, name: str) -> None:
    answer = service.post(INFER, json=pixels(90, name))
    assert (answer.status_code, answer.json()["error"][:9]) == (500, "Image 0: ")
    assert service.post(INFER, json=pixels(90, "heat")).status_code == 200


def test_where_foreign_images_are_rejected_they_have_no_label(tmp_path: Path) -> None:
    image = InferInput("image", [3], "BYTES").set_data_from_numpy(np.array(FILES, dtype=object))
    with (
        running_service(complete(tmp_path / "model.onnx"), reject_foreign=True) as service,
        InferenceServerClient(service.base_url.netloc.decode()) as client,
    ):
        assert client.infer("salver", [image]).as_numpy("label").tolist() == [b"red", b"", b""]
