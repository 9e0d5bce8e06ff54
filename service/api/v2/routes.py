"""The Open Inference Protocol (version 2, over HTTP) beside the scoring API, through the same queue.

Its definition: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with the extension
for binary tensor data. docs/open-inference-protocol.md says what is particular here.
"""

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from service.api.responses import JSON, PROBLEM_HEADERS, REFERENCE, SCORE_HEADERS, Schema, headers
from service.api.v2.infer import BINARY, answer
from service.api.v2.request import BESIDE, LENGTH_HEADER, InferRequest
from service.api.v2.response import InferResponse
from service.errors import ScoringError
from service.service import service_of

PREFIX = "/v2"
MODEL = "/models/{name}"
VERSION = MODEL + "/versions/{version}"
ANY = -1


class Failure(BaseModel):
    """The protocol's one form of an error."""

    error: str


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: tuple[str, ...]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(BaseModel):
    """The inputs are alternatives: a request has one of them."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


def in_protocol(path: str) -> bool:
    """Whether errors at this path are answered in the protocol's form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def failure_response(error: ScoringError | HTTPException) -> Response:
    """The error as a whole answer."""
    status = error.status if isinstance(error, ScoringError) else error.status_code
    return JSONResponse({"error": error.detail}, status, error.headers)


FAILURE: Schema = {"model": Failure, "description": "What was wrong and what to do."}
REFUSAL_HEADERS = {
    name: f"With {status}. {text}" for status, found in PROBLEM_HEADERS.items() for name, text in found.items()
}
SCORED: Schema = {
    "content": {BINARY: {}},
    "headers": headers(SCORE_HEADERS | {LENGTH_HEADER: f"With {BINARY}. The length of the JSON before the tensors."}),
}
REQUEST: Schema = {
    "required": True,
    "content": {JSON: {"schema": {"$ref": REFERENCE.format(model=InferRequest.__name__)}}, BINARY: {}},
}
SECURITY: list[Schema] = [{"key": []}, {}]
router = APIRouter(
    prefix=PREFIX,
    tags=["Open Inference Protocol"],
    responses={"4XX": FAILURE | {"headers": headers(REFUSAL_HEADERS)}, "5XX": FAILURE},
)


@router.post(VERSION + "/infer", include_in_schema=False)
@router.post(
    MODEL + "/infer",
    response_model=InferResponse,
    responses={200: SCORED},
    openapi_extra={"requestBody": REQUEST, "security": SECURITY},
)
async def infer(request: Request, name: str) -> Response:
    """Score images: files (`image`) or pixels (`pixels`) in; `logits`, `probabilities` and `label` out, and what
    else the model file has: `features`, `familiarity`, `heat`.

    The tensors' bytes may follow the JSON, which then has its length in the header Inference-Header-Content-Length.
    """
    caller = _check_key(request)
    _check_model(request, name)
    return await answer(service_of(request), request, caller)


@router.get("")
async def server_metadata() -> ServerMetadata:
    """The service and the protocol's extensions that it speaks; needs no key."""
    return ServerMetadata(name="salver", version=version("salver"), extensions=("binary_tensor_data",))


@router.get("/health/live")
async def server_live() -> Live:
    """As `GET /healthz`; needs no key."""
    return Live(live=True)


@router.get("/health/ready")
async def server_ready(request: Request) -> Ready:
    """As `GET /readyz`; needs no key."""
    service_of(request).check_ready()
    return Ready(ready=True)


@router.get(VERSION + "/ready", include_in_schema=False)
@router.get(MODEL + "/ready")
async def model_ready(request: Request, name: str) -> ModelReady:
    """As `GET /readyz`; needs no key."""
    _check_model(request, name)
    service_of(request).check_ready()
    return ModelReady(name=name, ready=True)


@router.get(VERSION, include_in_schema=False)
@router.get(MODEL, openapi_extra={"security": SECURITY})
async def model_metadata(request: Request, name: str) -> ModelMetadata:
    """The tensors that the model takes and answers."""
    _check_key(request)
    _check_model(request, name)
    model = service_of(request).live.model
    spec, labels, outputs = model.manifest.pixels, model.manifest.labels, model.manifest.outputs
    return ModelMetadata(
        name=name,
        versions=(model.version,),
        platform="onnxruntime_onnx",
        inputs=(
            TensorMetadata(name="image", datatype="BYTES", shape=(ANY,)),
            TensorMetadata(name="pixels", datatype="UINT8", shape=(ANY, spec.height, spec.width, 3)),
        ),
        outputs=(
            TensorMetadata(name="logits", datatype="FP32", shape=(ANY, len(labels))),
            TensorMetadata(name="probabilities", datatype="FP32", shape=(ANY, len(labels))),
            TensorMetadata(name="label", datatype="BYTES", shape=(ANY,)),
            *(
                TensorMetadata(name=name, datatype="FP32", shape=(ANY, *outputs[name]))
                for name in BESIDE
                if name in outputs
            ),
        ),
    )


def _check_key(request: Request) -> bytes:
    """The caller, as `Keys.check` names them."""
    return service_of(request).keys.check(dict(request.scope["headers"]).get(b"authorization"))


def _check_model(request: Request, name: str) -> None:
    """Only this name and, where the address has one, this version. Raises HTTPException 404."""
    service, wanted = service_of(request), request.path_params.get("version")
    if name != service.settings.model_name:
        raise HTTPException(404, "No model of this name is served: GET /model says the name of the one that is.")
    if wanted is not None and wanted != service.live.model.version:
        raise HTTPException(404, "This version is not served: GET /model says the one that is.")
