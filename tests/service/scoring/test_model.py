import base64
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import INPUT_NAME, METADATA_KEY, Manifest
from service.scoring.model import load_model
from tests.support.images import solid
from tests.support.models import SPEC, constant, nan_for_white, probe
from tests.support.strangers import READERS_OF_FILES


def edited(path: Path, edit: Callable[[onnx.ModelProto], object]) -> str:
    model = onnx.load(path)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return str(path)


def edited_manifest(path: Path, **changes: object) -> str:
    def edit(model: onnx.ModelProto) -> None:
        (entry,) = model.metadata_props
        manifest = Manifest.model_validate_json(entry.value)
        entry.value = manifest.model_copy(update=changes).model_dump_json(exclude_none=True)

    return edited(path, edit)


def test_the_probe_gives_the_mean_colour_of_each_half(tmp_path: Path) -> None:
    model = load_model(str(probe(tmp_path / "model.onnx")), "auto", 2)
    pixels = np.zeros((2, SPEC.height, SPEC.width, 3), np.uint8)
    pixels[0, :, : SPEC.width // 2, 0] = 255
    logits = dict(zip(model.manifest.labels, model.run(pixels)["logits"].T, strict=True))
    assert logits["left R"].tolist() == [1, 0]
    assert logits["top R"].tolist() == [0.5, 0]
    assert model.provider == "CPUExecutionProvider"
    assert np.array_equal(model.run(pixels, alone=True)["logits"], model.run(pixels)["logits"])


@pytest.mark.parametrize("edit", ["ir", "opset"])
def test_a_file_newer_than_the_runtime_is_refused_with_both_versions(tmp_path: Path, edit: str) -> None:

    def newer(model: onnx.ModelProto) -> None:
        if edit == "ir":
            model.ir_version = 99
        else:
            model.opset_import[0].version = 99

    with pytest.raises(ModelFileError, match="99") as caught:
        load_model(edited(probe(tmp_path / "model.onnx"), newer), "auto", 1)
    assert "model.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_an_empty_or_cut_file_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    path = probe(tmp_path / "model.onnx")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        load_model(str(path), "auto", 1)


def test_a_missing_file_and_an_unknown_scheme_are_refused_by_name(tmp_path: Path) -> None:
    for location in (str(tmp_path / "absent.onnx"), "nosuch://bucket/model.onnx", str(tmp_path)):
        with pytest.raises(ModelFileError, match="cannot be read"):
            load_model(location, "auto", 1)


def test_a_file_url_is_read_like_a_path(tmp_path: Path) -> None:
    path = probe(tmp_path / "model.onnx")
    assert load_model(path.as_uri(), "auto", 1).version == load_model(str(path), "auto", 1).version


def test_other_outputs_than_labels_are_refused(tmp_path: Path) -> None:
    """4 outputs with 3 labels."""
    path = constant(tmp_path / "model.onnx", [1, 2, 3, 4])

    def three_labels(model: onnx.ModelProto) -> None:
        (entry,) = model.metadata_props
        manifest = Manifest.model_validate_json(entry.value)
        golden = manifest.golden.model_copy(update={"logits": {"a": 1.0, "b": 2.0, "c": 3.0}})
        entry.value = manifest.model_copy(update={"labels": ("a", "b", "c"), "golden": golden}).model_dump_json(
            exclude_none=True
        )

    with pytest.raises(ModelFileError, match="inputs and outputs"):
        load_model(edited(path, three_labels), "auto", 1)


def test_a_file_without_a_manifest_is_refused(tmp_path: Path) -> None:
    path = edited(probe(tmp_path / "model.onnx"), lambda model: model.ClearField("metadata_props"))
    with pytest.raises(ModelFileError, match="not exported by Salver"):
        load_model(path, "auto", 1)


def test_a_manifest_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = edited(
        probe(tmp_path / "model.onnx"),
        lambda model: helper.set_model_props(model, {METADATA_KEY: '{"schema_version":3}'}),
    )
    with pytest.raises(ModelFileError, match="schema_version"):
        load_model(path, "auto", 1)


def test_labels_in_another_order_are_caught_by_the_test_card(tmp_path: Path) -> None:
    labels = tuple(reversed(load_model(str(probe(tmp_path / "model.onnx")), "auto", 1).manifest.labels))
    with pytest.raises(ModelFileError, match="test card"):
        load_model(edited_manifest(tmp_path / "model.onnx", labels=labels), "auto", 1)


def test_a_model_that_gives_no_numbers_for_its_test_card_is_refused(tmp_path: Path) -> None:
    path = nan_for_white(tmp_path / "model.onnx")
    golden = load_model(str(path), "auto", 1).manifest.golden
    white = golden.model_copy(update={"image": base64.b64encode(solid((255, 255, 255)))})
    with pytest.raises(ModelFileError, match="test card"):
        load_model(edited_manifest(path, golden=white), "auto", 1)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_refused_and_never_replaced(tmp_path: Path, device: str) -> None:
    """Judged from the session."""
    with pytest.raises(ModelFileError, match=f"SALVER_DEVICE is {device} but "):
        load_model(str(probe(tmp_path / "model.onnx")), device, 1)


def test_a_graph_that_ends_in_a_softmax_is_refused_as_training_does(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"a\.onnx cannot be loaded: it ends in a softmax, .*Export it again"):
        load_model(str(constant(tmp_path / "a.onnx", [2, 1, 0], softmax=True)), "auto", 1)


def larger_than_memory(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("sides", onnx.TensorProto.INT64, [2], [2**24, 2**24]))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["sides"], ["huge"]))
    model.graph.node.append(helper.make_node("Mul", ["huge", "huge"], ["unused"]))


STRANGERS: dict[str, Callable[[onnx.ModelProto], object]] = {
    **READERS_OF_FILES,
    "wants code of its own": lambda model: model.graph.node.append(
        helper.make_node("Run", [INPUT_NAME], ["x"], domain="strange")
    ),
    "a name of a megabyte": lambda model: setattr(model.graph.input[0], "name", "\x1b" * 2**20),
    "control characters in names": lambda model: setattr(model.graph.input[0], "name", "\x1b]0;title\x07"),
    "hundreds of inputs": lambda model: model.graph.input.extend([model.graph.input[0]] * 500),
    "wants more memory than there is": larger_than_memory,
    "a manifest nested without end": lambda model: helper.set_model_props(model, {METADATA_KEY: "[" * 100_000}),
}


@pytest.mark.parametrize("edit", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_model_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[onnx.ModelProto], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.arange(4, dtype=np.float32).tofile(tmp_path / "secret")
    with pytest.raises(ModelFileError) as caught:
        load_model(edited(probe(tmp_path / "model.onnx"), edit), "auto", 1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_onnxruntime_itself_reads_the_file_beside_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why the walk is needed: without it the logits tell what stands in the file."""
    monkeypatch.chdir(tmp_path)
    np.arange(4, dtype=np.float32).tofile(tmp_path / "secret")
    model = onnx.load(probe(tmp_path / "model.onnx"))
    READERS_OF_FILES["a constant"](model)
    model.graph.output.append(helper.make_tensor_value_info("stolen", TensorProto.FLOAT, [4]))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (stolen,) = session.run(["stolen"], {INPUT_NAME: np.zeros((1, SPEC.height, SPEC.width, 3), np.uint8)})
    assert stolen.tolist() == [0, 1, 2, 3]


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 30 * 2**30)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "a pipe, not a file"),
        (Path.mkdir, "a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (sparse, "has 32,212,254,720 bytes; the limit is"),
        (lambda path: path.write_bytes(b""), "cannot be loaded: it is empty"),
        (lambda path: path.write_bytes(b"\x18\0\0\0ORTM" + bytes(99)), "cannot be loaded: it is in onnxruntime's own"),
        (lambda path: path.write_bytes(b"<html>"), "cannot be loaded: it is a page"),
    ],
)
def test_what_is_no_model_file_is_refused_at_once_by_what_it_is(tmp_path: Path, make: object, words: str) -> None:
    path = tmp_path / "model.onnx"
    make(path)  # type: ignore[operator]
    with pytest.raises(ModelFileError, match=words) as caught:
        load_model(str(path), "auto", 1)
    assert str(caught.value).isprintable()


def test_a_model_is_read_through_the_links_of_a_mounted_volume_or_a_download_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "..2026_1").mkdir()
    blob = probe(tmp_path / "blobs" / "0f3a")
    (tmp_path / "snapshots" / "1" / "model.onnx").symlink_to(Path("..", "..", "blobs", "0f3a"))
    (tmp_path / "..2026_1" / "model.onnx").write_bytes(blob.read_bytes())
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "model.onnx").symlink_to(Path("..data", "model.onnx"))
    for link in (tmp_path / "snapshots" / "1" / "model.onnx", tmp_path / "model.onnx"):
        assert load_model(str(link), "cpu", 1).version == load_model(str(blob), "cpu", 1).version


@pytest.mark.parametrize("place", [b'"schema_version"', b"left half"])
def test_a_name_in_the_file_that_is_not_utf_8_is_refused(tmp_path: Path, place: bytes) -> None:
    path = probe(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes().replace(place, b"\xff\xfe" + place[2:], 1))
    with pytest.raises(ModelFileError):
        load_model(str(path), "auto", 1)


def test_a_pickle_in_the_models_place_is_not_opened(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (tmp_path / "model.onnx").write_bytes(f"cpathlib\nPath\n(V{trap}\ntR.".encode() + b"cbuiltins\nopen\n.")
    with pytest.raises(ModelFileError):
        load_model(str(tmp_path / "model.onnx"), "auto", 1)
    assert not trap.exists()
