"""`POST /model/reload`: a change of the model without a restart."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from salver.artifact.errors import ModelFileError
from service.api.responses import problem_answer, problems
from service.service import service_of

router = APIRouter()


class Reloaded(BaseModel):
    """What became of the wish to serve the file as it is now."""

    outcome: Literal["changed", "unchanged"]
    version: str
    """sha256 of the model file that is served from now on."""
    version_before: str


@router.post(
    "/model/reload",
    responses=problems("unauthorised", "internal", "not-ready")
    | {
        404: problem_answer(404, "No admin key is configured."),
        409: problem_answer(409, "The new file cannot be served; the old one is."),
    },
    openapi_extra={"security": [{"key": []}]},
)
async def reload(request: Request) -> Reloaded:
    """Read the model file again and, if it is another one and proves good, serve it. Needs an admin key."""
    service = service_of(request)
    if not service.admin_keys:
        raise HTTPException(404, "Set SALVER_ADMIN_KEYS_FILE to change the model by request.")
    service.admin_keys.check(dict(request.scope["headers"]).get(b"authorization"))
    before = service.live.model.version
    result = await service.models.change()
    if isinstance(result, ModelFileError):
        raise HTTPException(409, str(result))
    if isinstance(result, Exception):
        raise result
    return Reloaded(outcome=result, version=service.live.model.version, version_before=before)
