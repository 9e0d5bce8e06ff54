"""The command `salver serve`."""

import os
from typing import Annotated

import typer

from service.__main__ import run


def serve(
    model: Annotated[str, typer.Argument(help="Path or fsspec URI of model.onnx.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve a model file over HTTP: POST /score, GET /model, /healthz, /readyz, /docs.

    Other settings are environment variables with the prefix SALVER_, such as SALVER_API_KEYS_FILE.
    """
    os.environ["SALVER_MODEL"] = model
    raise typer.Exit(run(host, port))
