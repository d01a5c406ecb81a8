"""The published schemas over HTTP: which there are, the newest of a name, and each version that was ever published."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter
from msgspec import Meta

from adapters.web.problems import Refused

MEDIA_TYPE = "application/schema+json"
NAME_EXAMPLE = "order.paid"


class Published(NamedTuple):
    """A shape, and the schemas of all its versions."""

    about: str
    versions: Mapping[int, bytes]
    """Version → JSON Schema, never empty."""


class SchemaRow(msgspec.Struct, frozen=True):
    """A shape that events, documents or headers have."""

    name: Annotated[str, Meta(description="The event's tag, or the document's name.", examples=[NAME_EXAMPLE])]
    version: Annotated[int, Meta(description="The newest one: what is published now.", examples=[1])]
    versions: Annotated[tuple[int, ...], Meta(description="All that were ever published, rising.")]
    about: Annotated[str, Meta(description="What it means.")]


class SchemaList(msgspec.Struct, frozen=True):
    """All shapes, by name."""

    schemas: list[SchemaRow]


Name = Annotated[str, PathParameter(description=f"Name of the shape (`{NAME_EXAMPLE}`).", max_length=200)]


def routes(published: Mapping[str, Published], errors: Mapping[int, ResponseSpec]) -> list[HTTPRouteHandler]:
    """Return the handlers; `errors` says how they may fail."""
    told = {
        200: ResponseSpec(
            dict[str, Any], description="A JSON Schema (2020-12).", media_type=MEDIA_TYPE, generate_examples=False
        ),
        **errors,
    }
    shared: dict[str, Any] = {"tags": ["schemas"], "security": [{"token": []}]}

    @get(
        "/api/v1/schemas",
        operation_id="listSchemas",
        summary="List the published schemas",
        responses={status: spec for status, spec in errors.items() if status != 404},  # noqa: PLR2004  a status
        **shared,
    )
    async def list_schemas() -> SchemaList:
        """Return every event, document and header that has a published schema."""
        return SchemaList(
            [
                SchemaRow(name, max(each.versions), tuple(sorted(each.versions)), each.about)
                for name, each in sorted(published.items())
            ]
        )

    @get(
        "/api/v1/schemas/{name:str}",
        operation_id="getSchema",
        summary="Look at the newest schema of a name",
        responses=told,
        **shared,
    )
    async def get_schema(name: Name) -> Response[bytes]:
        """Return the schema that what is published now is valid against."""
        versions = _versions(name)
        return Response(versions[max(versions)], media_type=MEDIA_TYPE)

    @get(
        "/api/v1/schemas/{name:str}/{version:str}",
        operation_id="getSchemaVersion",
        summary="Look at one version of a schema",
        responses=told,
        **shared,
    )
    async def get_schema_version(
        name: Name, version: Annotated[str, PathParameter(description="Its version, from 1.", max_length=20)]
    ) -> Response[bytes]:
        """Return the schema of that version, also where nothing of it is published any more."""
        versions = _versions(name)
        if not version.isascii() or not version.isdigit() or int(version) not in versions:
            there = ", ".join(map(str, sorted(versions)))
            raise Refused(
                404, "not-found", "there is no such version", where="path", advice=f"there are the versions {there}"
            )
        return Response(versions[int(version)], media_type=MEDIA_TYPE)

    def _versions(name: str) -> Mapping[int, bytes]:
        if name not in published:
            raise Refused(
                404, "not-found", "there is no such schema", where="path", advice="GET /api/v1/schemas lists them"
            )
        return published[name].versions

    return [list_schemas, get_schema, get_schema_version]
