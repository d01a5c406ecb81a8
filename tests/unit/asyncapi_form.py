"""As much of the form of AsyncAPI 3.0.0 documents as ours use, as a JSON Schema; facts from the specification."""

from typing import Any

_TEXT = {"type": "string"}
_REF = {"type": "object", "required": ["$ref"], "properties": {"$ref": _TEXT}, "additionalProperties": False}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "patternProperties": {"^x-[\\w.-]+$": {}},
        "additionalProperties": False,
    }


def _named(value: Any) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {"^[A-Za-z0-9_.-]+$": value}, "additionalProperties": False}


FORM = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        ["asyncapi", "info", "channels", "operations", "components"],
        asyncapi={"const": "3.0.0"},
        info=_object(
            ["title", "version"],
            title=_TEXT,
            version=_TEXT,
            description=_TEXT,
            license=_object(["name"], name=_TEXT, url=_TEXT),
        ),
        defaultContentType=_TEXT,
        servers=_named(
            _object(
                ["host", "protocol"],
                host=_TEXT,
                protocol=_TEXT,
                description=_TEXT,
                variables=_named(_object([], description=_TEXT, default=_TEXT)),
            )
        ),
        channels=_named(
            _object(
                ["address", "messages"],
                address=_TEXT,
                title=_TEXT,
                messages=_named(_REF),
                parameters=_named(_object([], description=_TEXT, enum={"type": "array", "items": _TEXT})),
            )
        ),
        operations=_named(
            _object(
                ["action", "channel"],
                action={"enum": ["send", "receive"]},
                channel=_REF,
                summary=_TEXT,
                messages={"type": "array", "items": _REF},
            )
        ),
        components=_object(
            [],
            messages=_named(
                _object(
                    ["payload"],
                    name=_TEXT,
                    title=_TEXT,
                    summary=_TEXT,
                    contentType=_TEXT,
                    headers=_REF,
                    payload=_REF,
                )
            ),
            schemas=_named(_object(["schemaFormat", "schema"], schemaFormat=_TEXT, schema={"type": "object"})),
        ),
    ),
}
