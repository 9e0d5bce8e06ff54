"""`salver drift` as a person or a pipeline calls it, on a service that runs."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from salver.artifact.facts.histograms import Histograms
from salver.artifact.manifest import Reference
from salver.artifact.pixels import Header, decode, to_pixels
from salver.cli import build
from tests.support.images import photo
from tests.support.live import running_service, serving_folder
from tests.support.models import by_colour
from training.evaluation.model_file import ModelFile

pytestmark = [pytest.mark.torch, pytest.mark.server]

Photos = list[bytes]


def photos(first: int, count: int, dark: float = 1.0) -> Photos:
    """Files of different pictures."""
    return [_darker(photo(48, 40, seed), dark) for seed in range(first, first + count)]


def _darker(data: bytes, factor: float) -> bytes:
    from io import BytesIO

    from PIL import Image

    if factor == 1:
        return data
    file = BytesIO()
    Image.open(BytesIO(data)).point(lambda value: int(value * factor)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its reference: 100 photos, as the export counts them."""
    file = ModelFile.read(by_colour(tmp_path_factory.mktemp("model") / "model.onnx"))
    spec, histograms = file.manifest.pixels, Histograms(file.manifest)
    for data in photos(0, 100):
        pixels = to_pixels(decode(data, spec), spec)
        look = histograms.look(pixels, Header("JPEG", "RGB", 48, 40, 1))
        assert look is not None
        histograms.count(look, pixels.mean(axis=(0, 1), dtype=np.float32) / 255 * 8, None)
    reference = Reference(images=histograms.images, facts=histograms.counts())
    return file.write(file.path, file.manifest.model_copy(update={"reference": reference})).path


@pytest.fixture
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model) as client:
        yield client


def send(client: httpx.Client, files: Photos) -> None:
    for start in range(0, len(files), 50):
        body = [{"image_in_base64": base64.b64encode(data).decode()} for data in files[start : start + 50]]
        client.post("/score", json=body).raise_for_status()


def drift(*words: object) -> Result:
    return CliRunner().invoke(build("drift"), ["drift", *map(str, words)], env={"COLUMNS": "100"})


def url(client: httpx.Client) -> str:
    return f"{client.base_url}".rstrip("/") + "/metrics"


def test_photos_like_those_of_the_reference_are_no_drift(model: Path, client: httpx.Client) -> None:
    send(client, photos(1000, 150))
    result = drift(model, "--metrics", url(client))
    assert result.exit_code == 0, result.output
    assert "100 images of reference beside 150 looks" in result.output
    assert "no drift" in result.output


def test_darker_photos_are_drift_within_two_hundred_and_both_histograms_are_shown(
    model: Path, client: httpx.Client
) -> None:
    send(client, photos(1000, 200, dark=0.6))
    result = drift(model, "--metrics", url(client))
    assert result.exit_code == 1, result.output
    assert "drift: brightness" in result.output
    assert "brightness from" in result.output
    assert "█" in result.output
    found = json.loads(drift(model, "--metrics", url(client), "--json").output)
    assert found["drift"] is True
    assert found["looks"] == 200
    assert found["version"] == ModelFile.read(model).sha256
    assert next(fact["fact"] for fact in found["facts"] if fact["alarm"]) == "brightness"
    assert sum(found["facts"][0]["window"]) == 200


def test_a_retry_loop_is_one_look_and_nothing_is_said_of_it(model: Path, client: httpx.Client) -> None:
    send(client, photos(1000, 1, dark=0.1) * 500)
    result = drift(model, "--metrics", url(client))
    assert result.exit_code == 2
    assert "1 look at the world so far" in result.output


def test_only_what_came_since_an_earlier_copy_is_looked_at(model: Path, client: httpx.Client, tmp_path: Path) -> None:
    send(client, photos(1000, 300))
    (tmp_path / "earlier.txt").write_text(client.get("/metrics").text)
    send(client, photos(2000, 100, dark=0.6))
    (tmp_path / "later.txt").write_text(client.get("/metrics").text)
    result = drift(model, "--metrics", tmp_path / "later.txt", "--since", tmp_path / "earlier.txt")
    assert result.exit_code == 1, result.output
    assert "beside 100 looks" in result.output
    backwards = drift(model, "--metrics", tmp_path / "earlier.txt", "--since", tmp_path / "later.txt")
    assert backwards.exit_code == 2
    assert "began to count anew" in backwards.output


def test_the_reference_of_one_version_is_not_compared_with_the_images_of_another(
    model: Path, client: httpx.Client, tmp_path: Path
) -> None:
    """Case N3-43: a file of equal labels and another sha256."""
    send(client, photos(1000, 100))
    file = ModelFile.read(model)
    other = file.write(tmp_path / "other.onnx", file.manifest.model_copy(update={"precision": "int8"}))
    result = drift(other.path, "--metrics", url(client))
    assert result.exit_code == 2
    assert f"The service counted images of version {file.sha256[:12]}" in result.output
    assert other.sha256[:12] in result.output


def test_counts_begin_anew_with_another_model(model: Path, tmp_path: Path) -> None:
    served = Path(shutil.copy(model, tmp_path / "model.onnx"))
    (tmp_path / "admin").write_text("an admin key of some length\n")
    with running_service(served, admin_keys_file=tmp_path / "admin") as client:
        send(client, photos(1000, 60))
        file = ModelFile.read(served)
        file.write(served, file.manifest.model_copy(update={"thresholds": {"red": 0.1}}))
        answer = client.post("/model/reload", headers={"Authorization": "Bearer an admin key of some length"})
        assert answer.json()["outcome"] == "changed"
        text = client.get("/metrics").text
        assert "salver_fact_images_total{" not in text
        send(client, photos(1000, 60))
        assert drift(served, "--metrics", url(client)).exit_code == 0
        assert drift(model, "--metrics", url(client)).exit_code == 2


def test_a_file_without_a_reference_is_told_what_to_do(client: httpx.Client, tmp_path: Path) -> None:
    result = drift(by_colour(tmp_path / "old.onnx"), "--metrics", url(client))
    assert result.exit_code == 2


def test_scores_are_compared_by_label_and_probability(model: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    rows = [f"{number}.jpg,red,red,{8 + number / 100},0,0" for number in range(60)]
    scores.write_text("\n".join(["path,truth,predicted,red,green,blue", *rows]) + "\n")
    result = drift(model, "--scores", scores)
    assert result.exit_code == 1, result.output
    assert "taken on trust" in result.output
    assert "drift: " in result.output
    (tmp_path / "run.json").write_text(json.dumps({"model_sha256": "0" * 64}))
    refused = drift(model, "--scores", scores)
    assert refused.exit_code == 2
    assert "is of version 000000000000" in refused.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "either --metrics or --scores"),
        (("--metrics", "a", "--scores", "b"), "either --metrics or --scores"),
        (("--scores", "b", "--since", "c"), "--since goes with --metrics"),
        (("--metrics", "not there.txt"), "not there.txt"),
        (("--metrics", "http://127.0.0.1:9/metrics"), "cannot be read"),
        (("--metrics", "http://["), "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_two(model: Path, words: tuple[str, ...], message: str) -> None:
    result = drift(model, *words)
    assert result.exit_code == 2
    assert message in result.output


def test_another_page_than_metrics_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>")
    with serving_folder(tmp_path) as address:
        result = drift(model, "--metrics", f"{address}/page.html")
        gone = drift(model, "--metrics", f"{address}/gone")
    assert (result.exit_code, gone.exit_code) == (2, 2)
    assert "no metrics of a Salver service" in result.output
    assert "answers 404" in gone.output
