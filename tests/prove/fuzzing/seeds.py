"""One valid input of each kind for the fuzzer to begin with."""

import base64
import gzip
import json
import shutil
from pathlib import Path

from salver.artifact.manifest import METADATA_KEY
from tests.support.images import solid
from tests.support.models import SPEC, constant, manifest_for, nan_for_white, probe
from tests.support.strangers import READERS_OF_FILES, strange

VECTORS = Path(__file__).parents[2] / "salver" / "artifact" / "vectors"
RED = solid((200, 30, 40), 4, 4)


def write_seeds(folder: Path, target: str) -> None:
    """Into a new folder."""
    folder.mkdir()
    if target == "pixels":
        for path in VECTORS.iterdir():
            if path.suffix != ".json":
                shutil.copy(path, folder)
    elif target in ("model", "graph"):
        probe(folder / "probe")
        constant(folder / "softmax", [2, 1, 0], softmax=True)
        nan_for_white(folder / "nan")
        if target == "graph":
            for number, edit in enumerate(READERS_OF_FILES.values()):
                strange(folder / f"stranger{number}", edit)
    elif target == "manifest":
        manifest = manifest_for(("a", "b"), SPEC, RED, [1.0, 2.0], thresholds={"a": 0.5})
        (folder / "manifest").write_text(manifest.to_metadata()[METADATA_KEY])
    else:
        for number, body in enumerate(_bodies()):
            (folder / f"body{number}").write_bytes(body)


def _bodies() -> list[bytes]:
    text = base64.b64encode(RED).decode()
    parameters = {"add_softmax": True, "top_k": 2, "image_resize_dims": [3, 4]}
    binary = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 7}}
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [binary], "outputs": outputs}).encode()
    return [
        json.dumps([{"image_in_base64": text, "parameters": parameters}, {"image_url": "http://a/b"}]).encode(),
        b'--edge\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\nabc\r\n--edge--\r\n',
        gzip.compress(b"hello" * 50),
        b"add_softmax=true&top_k=2&image_resize_dims=32,32",
        b'multipart/form-data; boundary="edge"; charset=utf-8',
        len(head).to_bytes(2) + head + b"\3\0\0\0abc",
        json.dumps({"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1]}]}).encode(),
        json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}).encode(),
        text.encode(),
    ]
