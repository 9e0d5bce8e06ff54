"""The sample client of the 2018 package, request for request."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import PROBE_LABELS, probe

pytestmark = pytest.mark.server


def test_the_2018_sample_client_works_unmodified(tmp_path: Path) -> None:
    """It posts Python's own `b'…'` text, and a header of another product."""
    (tmp_path / "image.png").write_bytes(solid((20, 30, 200)))
    with running_service(probe(tmp_path / "model.onnx"), api_keys="service-key") as client:
        with (tmp_path / "image.png").open("rb") as file:
            encoded = base64.b64encode(file.read())
        body = json.dumps([{"image_in_base64": "{0}".format(encoded), "parameters": {}}])  # type: ignore[str-bytes-safe]  # noqa: UP030, UP032
        headers = {
            "Content-Type": "application/json",
            "Authorization": "Bearer service-key",
            "X-Marathon-App-Id": "",
        }
        answer = requests.post(f"{client.base_url}/score", data=body, headers=headers, timeout=10)
        clean = client.post(
            "/score",
            json=[{"image_in_base64": encoded.decode()}],
            headers={"Authorization": "Bearer service-key"},
        )
    assert "\"b'" in body
    parsed = json.loads(answer.text)
    assert PROBE_LABELS[int(np.argmax(parsed[0]["scores"]))] == "left B"
    assert parsed == clean.json()
