"""The gate is tried on files with one planted fault each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from PIL import Image

from salver.artifact.manifest import Manifest, PixelSpec
from salver.artifact.pixels import decode, to_pixels
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import ExportRefused
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.export import export
from training.export.gate import Expected, check_file, measure_parity
from training.export.graph import IR_VERSION, OPSET
from training.export.test_card import make_golden, render_card
from training.fit.minibatches import Minibatches
from training.fit.state import TrainedOn
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.run.classifier import Classifier

pytestmark = [pytest.mark.torch, pytest.mark.slow]  # one export for all takes about 5 s

FINITE_BUT_WRONG = 1e-2


@dataclass(frozen=True)
class Exported:
    classifier: Classifier
    validation: Dataset
    reported: Evaluation
    path: Path
    manifest: Manifest

    def graph(self) -> onnx.ModelProto:
        return onnx.load(self.path)

    def parity_of(self, graph: onnx.ModelProto) -> None:
        images = Minibatches(self.validation, self.manifest.labels, self.manifest.pixels)
        net = self.classifier.output_net()
        expected = Expected(self.reported.logits, self.manifest.outputs, net.answers, net.bias())
        measure_parity(graph.SerializeToString(), images, expected)

    def check(self, path: Path, **changes: object) -> None:
        """Check a copy of the file whose manifest has `changes`, as if training had meant them."""
        manifest = self.manifest.model_copy(update=changes)
        graph = self.graph()
        del graph.metadata_props[:]
        onnx.helper.set_model_props(graph, manifest.to_metadata())
        onnx.save(graph, path)
        check_file(path, manifest, self.validation, self.reported)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    data = photo_folder(folder / "photos", {"cup": 6, "bowl": 6, "plate": 6})
    train, validation = data.split(train_size=0.5)
    classifier = Classifier("resnet18", data.labels, image_size=64, weights="none", device="cpu")
    classifier.fit(train, validation, [0.001], batch_size=4)
    path = folder / "model.onnx"
    manifest = classifier.export(path, metrics={"test_accuracy": 0.5})
    return Exported(classifier, validation, evaluate(classifier, validation), path, manifest)


def test_the_file_holds_one_graph_with_a_free_batch_axis_and_its_manifest(exported: Exported) -> None:
    graph = exported.graph()
    assert (graph.ir_version, graph.opset_import[0].version) == (IR_VERSION, OPSET)
    assert [path.name for path in exported.path.parent.iterdir() if path.is_file()] == ["model.onnx"]
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    assert [(node.name, node.type, node.shape) for node in (*session.get_inputs(), *session.get_outputs())] == [
        ("pixels", "tensor(uint8)", ["batch", 64, 64, 3]),
        ("logits", "tensor(float)", ["batch", 3]),
        ("features", "tensor(float)", ["batch", 512]),
        ("familiarity", "tensor(float)", ["batch"]),
        ("heat", "tensor(float)", ["batch", 3, 2, 2]),
    ]
    assert Manifest.from_metadata(session.get_modelmeta().custom_metadata_map) == exported.manifest


def test_batches_of_1_2_and_7_give_each_image_the_same_logits_as_torch(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    alone = np.concatenate([session.run(None, {"pixels": pixels[index : index + 1]})[0] for index in range(7)])
    for batch in (1, 2, 7):
        together = session.run(None, {"pixels": pixels[:batch]})[0]
        assert together.shape == (batch, 3)
        assert np.abs(together - alone[:batch]).max() < 1e-4
    with torch.inference_mode():
        assert np.abs(exported.classifier.net.eval()(torch.from_numpy(pixels)).numpy() - alone).max() < 1e-4


def test_the_manifest_says_where_the_model_comes_from(exported: Exported) -> None:
    manifest, provenance = exported.manifest, exported.manifest.provenance
    assert manifest.labels == ("bowl", "cup", "plate")
    assert (manifest.base, manifest.weights, manifest.precision) == ("resnet18", "none", "fp32")
    assert provenance.counts == {"bowl": 3, "cup": 3, "plate": 3}
    assert provenance.metrics == {
        "validation_accuracy": exported.reported.accuracy,
        "validation_class_averaged_accuracy": exported.reported.class_averaged_accuracy,
        "test_accuracy": 0.5,
    }
    assert {"python", "torch", "onnxruntime"} <= set(provenance.versions)
    assert provenance.parity.batch_sizes == (1, 2, 9)
    assert provenance.parity.images == 9
    assert 0 <= provenance.parity.max_logit_difference < provenance.parity.tolerance < 1e-2


def test_the_sound_file_passes(exported: Exported, tmp_path: Path) -> None:
    exported.parity_of(exported.graph())
    exported.check(tmp_path / "model.onnx")


def test_labels_in_another_order_are_caught(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=r"accuracy|by label name"):
        exported.check(tmp_path / "model.onnx", labels=exported.manifest.labels[::-1])


def test_a_label_of_another_name_is_caught(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="manifest"):
        exported.check(tmp_path / "model.onnx", labels=("bowl", "cup", "saucer"))


@pytest.mark.parametrize(
    "spec",
    [
        pixel_spec(64).model_copy(update={"interpolation": "bicubic"}),
        pixel_spec(64).model_copy(update={"shorter_side": 80}),
        pixel_spec(64, "stretch"),
    ],
)
def test_another_way_to_the_pixels_is_caught(exported: Exported, tmp_path: Path, spec: PixelSpec) -> None:
    with pytest.raises(ExportRefused, match=r"accuracy|by label name"):
        exported.check(tmp_path / "model.onnx", pixels=spec)


def test_another_answer_to_the_test_card_is_caught(exported: Exported, tmp_path: Path) -> None:
    golden = exported.manifest.golden
    logits = golden.logits | {"cup": golden.logits["cup"] + 2 * golden.tolerance}
    with pytest.raises(ExportRefused, match="test card"):
        exported.check(tmp_path / "model.onnx", golden=golden.model_copy(update={"logits": logits}))


def test_a_manifest_that_differs_from_the_intended_one_is_caught(exported: Exported) -> None:
    other = exported.manifest.model_copy(update={"temperature": 2.0})
    with pytest.raises(ExportRefused, match="manifest"):
        check_file(exported.path, other, exported.validation, exported.reported)


def fix_the_declared_batch(graph: onnx.ModelProto) -> None:
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def fix_the_batch_inside(graph: onnx.ModelProto) -> None:
    """The declared axis stays free, but on their way the logits are cut into two rows."""
    last = next(node for node in graph.graph.node if "logits" in node.output)
    last.output[0] = "trained"
    for name, shape in (("two_rows", [2, -1]), ("any_rows", [-1, 3])):
        graph.graph.initializer.append(numpy_helper.from_array(np.array(shape), name))
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["trained", "two_rows"], ["halves"]))
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["halves", "any_rows"], ["logits"]))


def change_one_weight(graph: onnx.ModelProto) -> None:
    change(graph, lambda tensor: tensor.dims == [3, 512], lambda values: values + FINITE_BUT_WRONG)


def normalise_otherwise(graph: onnx.ModelProto) -> None:
    change(graph, lambda tensor: tensor.dims == [3, 1, 1], lambda values: np.full_like(values, 127.5))


def blow_up(graph: onnx.ModelProto) -> None:
    change(graph, lambda tensor: tensor.dims == [3, 512], lambda values: np.full_like(values, np.nan))


def change(
    graph: onnx.ModelProto, chosen: Callable[[onnx.TensorProto], bool], new: Callable[[np.ndarray], np.ndarray]
) -> None:
    tensors = [tensor for tensor in graph.graph.initializer if chosen(tensor)]
    assert tensors
    for tensor in tensors:
        tensor.CopyFrom(numpy_helper.from_array(new(numpy_helper.to_array(tensor)), tensor.name))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (fix_the_declared_batch, "batches of one length only"),
        (fix_the_batch_inside, "fails at batch 1"),
        (change_one_weight, "differ from torch's by up to"),
        (normalise_otherwise, "differ from torch's by up to"),
        (blow_up, "not finite"),
    ],
)
def test_a_graph_that_is_not_the_trained_net_is_caught(
    exported: Exported, fault: Callable[[onnx.ModelProto], None], message: str
) -> None:
    graph = exported.graph()
    fault(graph)
    with pytest.raises(ExportRefused, match=message):
        exported.parity_of(graph)


def test_a_refused_export_leaves_the_file_of_before_and_nothing_else(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the model of before")
    wrong = replace(exported.reported, logits=exported.reported.logits + np.float32(FINITE_BUT_WRONG))
    with pytest.raises(ExportRefused, match="tolerance"):
        export(
            exported.classifier.output_net(),
            exported.manifest.pixels,
            path,
            TrainedOn("fingerprint", {}, 0),
            validation=exported.validation,
            reported=wrong,
            reference=exported.validation,
            metrics={},
        )
    assert path.read_bytes() == b"the model of before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_test_card_is_the_same_every_time_and_no_training_photo(exported: Exported) -> None:
    assert exported.manifest.golden.image == render_card(exported.manifest.pixels)


@pytest.mark.parametrize("size", [96, 224])
def test_another_resize_filter_moves_the_golden_logits_far_beyond_their_tolerance(size: int) -> None:
    torch.manual_seed(0)
    net = PixelNet(build_net("mobilenet_v2", 4, "offline")).eval()
    spec = pixel_spec(size)
    golden = make_golden(net, spec, ("a", "b", "c", "d"))

    def distance(pixels: np.ndarray) -> float:
        with torch.inference_mode():
            logits = net(torch.from_numpy(pixels)[None])[0].numpy()
        return float(np.abs(logits - list(golden.logits.values())).max()) / golden.tolerance

    card = decode(golden.image, spec)
    box = card.reduce(2).resize((size, size), Image.Resampling.BOX)
    assert distance(to_pixels(card, spec)) < 0.01
    assert distance(np.array(box)) > 5
    for change in ({"interpolation": "bicubic"}, {"interpolation": "lanczos"}, {"shorter_side": size}):
        assert distance(to_pixels(card, spec.model_copy(update=change))) > 5
