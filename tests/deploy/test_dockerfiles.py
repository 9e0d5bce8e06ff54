"""What the Dockerfiles say about folders, without an engine."""

import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.manifests import ROOT

CACHES = "import platformdirs; print(platformdirs.user_cache_dir('salver'), platformdirs.site_cache_dir('salver'))"


def caches(variables: str) -> list[str]:
    """The user's cache and the site-wide one under NAME=VALUE …, as an image has them."""
    environment = dict(re.findall(r"(\w+)=(\S+)", variables)) | {"PATH": "/usr/bin:/bin"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-c", CACHES]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_the_training_image_has_the_offline_weights_site_wide_and_a_user_cache_that_can_be_written() -> None:
    stages = re.split(r"^FROM .*$", (ROOT / "Dockerfile.train").read_text(), flags=re.MULTILINE)
    (build,) = re.findall(r"^RUN (.*) /opt\S+ -c .*\n.*fetch_offline_weights", stages[2], flags=re.MULTILINE)
    (variables,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", stages[3], flags=re.MULTILINE)
    made, (kept, site) = caches(build)[0], caches(variables)
    assert made == site
    assert f"COPY --from=code {site} {site}\n" in stages[3]
    # /tmp is a tmpfs in docker-compose.yml and an emptyDir in k8s/jobs; all else is read-only there.
    assert Path("/tmp") in Path(kept).parents
