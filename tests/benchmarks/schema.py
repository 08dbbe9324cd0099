"""The check that every benchmark's record goes through."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "benchmarks" / "schema.json").read_text(encoding="utf-8"))


def check_record(done: dict[str, Any]) -> None:
    """Raise unless the record has the schema, survives JSON, and every row has the cells of its table's columns."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    read = json.loads(json.dumps(done, allow_nan=False))
    assert read == done
    jsonschema.validate(read, SCHEMA, cls=jsonschema.Draft202012Validator)
    for table in done["tables"]:
        keys = [column["key"] for column in table["columns"]]
        assert len(set(keys)) == len(keys)
        assert all(list(row) == keys for row in table["rows"])
    for bar in done["bars"]:
        if bar["value"] is None:
            assert bar["met"] is None
        elif bar["sense"] == "at least":
            assert bar["met"] is (bar["value"] >= bar["limit"])
        else:
            assert bar["met"] is (bar["value"] <= bar["limit"])
