"""The OpenAPI description: FastAPI's own, and `POST /score` by hand because it parses its body itself."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from service.api.answer import Failed, Scored
from service.api.request import ScoreItem
from service.api.responses import JSON, REFERENCE, REQUEST_ID, SCORE_HEADERS, Schema, headers, problems
from service.api.v2.request import InferRequest
from service.errors import KINDS, Problem

FILE: Schema = {"type": "string", "format": "binary"}


def describe(app: FastAPI) -> Schema:
    """The whole document."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    adapters: dict[str, TypeAdapter[Any]] = {
        "items": TypeAdapter(list[ScoreItem] | ScoreItem),
        "answers": TypeAdapter(list[Scored | Failed]),
        "problem": TypeAdapter(Problem),
        "infer": TypeAdapter(InferRequest),
    }
    schemas, definitions = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in adapters.items()], ref_template=REFERENCE
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["paths"]["/model"]["get"]["security"] = [{"key": []}, {}]
    document["paths"]["/score"] = {
        "post": {
            "summary": "Score images",
            "description": "A list of images or one bare object in JSON, one file, or the files of a form; the answer "
            "has the same length and order. Status 200 when at least one image was scored, otherwise the first "
            "image's own error. The body may be compressed with gzip.",
            "security": [{"key": []}, {}],
            "parameters": _query(definitions["$defs"]["Parameters"]["properties"]),
            "requestBody": {
                "required": True,
                "content": {
                    JSON: {"schema": schemas["items", "validation"]},
                    "image/*": {"schema": FILE},
                    "multipart/form-data": {
                        "schema": {"type": "object", "additionalProperties": FILE, "minProperties": 1}
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "One answer or error for each image.",
                    "headers": headers(SCORE_HEADERS),
                    "content": {JSON: {"schema": schemas["answers", "validation"]}},
                },
                **{str(status): answer for status, answer in problems(*KINDS).items()},
            },
        }
    }
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        for answer in operation["responses"].values():
            answer["headers"] = headers(REQUEST_ID) | answer.get("headers", {})
    return document


def _query(properties: Schema) -> list[Schema]:
    """The parameters of an item as those of the query, where nothing can be null.

    Without their defaults: a page that tries requests would send them, and beside JSON no query may stand.
    """
    return [
        {
            "name": name,
            "in": "query",
            "description": "For image/* and multipart/form-data; in JSON it stands in the item.",
            "style": "form",
            "explode": False,
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _without_null(schema: Schema) -> Schema:
    forms = [form for form in schema.get("anyOf", [schema]) if form.get("type") != "null"]
    form = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return {key: value for key, value in form.items() if key != "default"}
