"""Validates FHIR R4 resources with two validators that others wrote, and with the rules that both overlook (rules.py).

Prints one line for each error, `file:line: entry N: expression: message [validator]`, then a summary. The exit code is
0 when nothing is wrong, 1 when something is, 2 when the check itself could not be made.
"""

import argparse
import contextlib
import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError
from pyrofile_validator import Validator
from pyrofile_validator.config import ValidatorConfig

from rules import Checker, Definitions

# Extensions that R4's own package cannot know: those that carry R5 elements, and US Core's race and ethnicity.
PUBLISHED_ELSEWHERE = (
    "The extension http://hl7.org/fhir/5.0/StructureDefinition/extension-",
    "The extension http://hl7.org/fhir/us/core/StructureDefinition/us-core-race ",
    "The extension http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity ",
)


# Findings that are not so. Each is told apart narrowly, and the self-test shows that its true siblings are refused.


def pyrofile_is_wrong(issue):
    match issue.code:
        case "extension.unknown":
            # R4 extensibility: an extension needs a published definition, not one in this package.
            return issue.message.startswith(PUBLISHED_ELSEWHERE)
        case "element.unknown":
            # R4 json: `_name` holds the extensions of a primitive, in backbone elements as anywhere else.
            # rules.py looks whether that primitive exists.
            return issue.path.rsplit(".", 1)[-1].startswith("_")
        case "invariant.per-1":
            # Compares texts: wrong for two offsets, and for an end that is a mere day. rules.py compares times.
            return True
        case "profile.element.invariant.ext-1":
            # Does not see a value that is only an extension (`_valueDateTime`). rules.py does, and has ext-1.
            return True
        case "profile.vitalsigns.magic":
            # Demands 85354-9, the pressure as a whole, of an Observation of 8480-6, the systolic one by itself. R4's
            # value set of vital signs has both, and the Observation claims no profile that would say more.
            return True
        case "profile.element.cardinality.max":
            # Counts `CapabilityStatement.rest.resource.type` over all resources of a rest, not in each. Its other check
            # of the same, cardinality.max, looks at each object.
            return issue.path.count(".") > 2
        case "terminology.display":
            # Knows one name for each of five LOINC codes, of the many that LOINC has.
            return "for http://loinc.org#" in issue.message
    return False


def models_are_wrong(error):
    # fhir.resources' Extension has no `_value[x]`, which R4 json gives every primitive. rules.py looks whether that
    # value exists.
    *_, parent, _, name = ("", "", *error["loc"])[-3:]
    return error["type"] == "extra_forbidden" and parent == "extension" and str(name).startswith("_value")


@dataclass(frozen=True)
class Found:
    expression: str
    message: str
    source: str


class Judges:
    """The two validators and our own rules, definitions loaded once."""

    def __init__(self, package):
        terminology = {"mode": "local"}
        config = ValidatorConfig.load_dict({"localPackagePaths": [str(package)], "terminology": terminology})
        self.pyrofile = Validator(config)
        self.rules = Checker(Definitions(package))

    def __call__(self, resource):
        return [*self.by_pyrofile(resource), *self.by_models(resource), *self.by_rules(resource)]

    def by_pyrofile(self, resource):
        # Its FHIRPath engine prints what the invariants trace().
        with contextlib.redirect_stdout(None):
            report = self.pyrofile.validate_resource(resource)
        for issue in report.errors:
            if not pyrofile_is_wrong(issue):
                yield Found(in_entry(issue, resource) + str(issue.path), issue.message, f"pyrofile {issue.code}")

    def by_models(self, resource):
        try:
            get_fhir_model_class(resource.get("resourceType")).model_validate(resource)
        except ValidationError as wrong:
            for error in wrong.errors(include_url=False, include_input=False):
                if not models_are_wrong(error):
                    expression = short(as_expression(resource, error["loc"]), resource)
                    yield Found(expression, error["msg"], f"fhir.resources {error['type']}")
        except (KeyError, TypeError, AttributeError) as wrong:
            yield Found(str(resource.get("resourceType")), str(wrong), "fhir.resources")

    def by_rules(self, resource):
        for finding in self.rules.check(resource):
            yield Found(short(finding.expression, resource), finding.message, f"rules {finding.rule}")


def in_entry(issue, resource):
    """pyrofile names a resource of a Bundle by its type and id: which entry that is, where there is only one."""
    matching = [
        index
        for index, entry in enumerate(resource.get("entry") or [])
        if isinstance(entry, dict)
        and (entry.get("resource") or {}).get("resourceType") == issue.resource_type
        and (issue.resource_id is None or entry["resource"].get("id") == issue.resource_id)
    ]
    return f"entry {matching[0]}: " if len(matching) == 1 else ""


def as_expression(resource, location):
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location]
    return f"{resource.get('resourceType')}{''.join(steps)}"


def short(expression, resource):
    """`Bundle.entry[2].resource.status` as pyrofile has it: `entry 2: Encounter.status`."""
    found = re.match(r"Bundle\.entry\[(\d+)\]\.resource", expression)
    if not found:
        return expression
    inner = resource["entry"][int(found[1])]["resource"]
    kind = inner.get("resourceType") if isinstance(inner, dict) else None
    return f"entry {found[1]}: {kind}{expression[found.end():]}"


# Reading


def strict(text):
    """JSON as FHIR has it: no property twice, no NaN."""

    def once(pairs):
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if twice:
            raise ValueError(f"the property {twice[0]!r} stands there twice")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(f"{name} is no JSON")

    value = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def resources(names):
    """Yields (where, text) for each resource: a whole .json file, or each line of anything else."""
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            yield from resources(sorted(str(file) for file in path.glob("*.json")))
        elif path.suffix == ".json":
            yield name, path.read_text(encoding="utf-8")
        else:
            with sys.stdin if name == "-" else path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield f"{name}:{number}", line


# Judging

SHOWN = 200
judges = None  # loaded before the processes divide, so that they share it


def judge(item):
    where, text = item
    try:
        resource = strict(text)
    except ValueError as wrong:
        return where, [Found("", str(wrong), "json")]
    try:
        return where, judges(resource)
    except Exception as error:  # a validator that stumbles has not said that the resource is right
        return where, [Found("", f"cannot be judged: {error!r}", "validate")]


def validate(names, at_least):
    total, wrong, errors = 0, 0, 0
    with Pool(min(2, os.cpu_count() or 1)) as pool:
        for where, found in pool.imap(judge, resources(names)):
            total, wrong, errors = total + 1, wrong + bool(found), errors + len(found)
            for one in found[: max(0, SHOWN - errors + len(found))]:
                print(f"{where}: {one.expression}: {' '.join(one.message.split())} [{one.source}]")
    if errors > SHOWN:
        print(f"... and {errors - SHOWN} more")
    print(f"validate: {total} resources, {wrong} with errors, {errors} errors")
    if total < at_least:
        print(f"validate: expected {at_least} resources or more, found {total}", file=sys.stderr)
        return 2
    return 1 if errors else 0


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__.split("\n\n")[0])
    parser.add_argument("--package", required=True, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--at-least", type=int, default=1, metavar="N", help="fail when there are fewer resources")
    parser.add_argument("--self-test", action="store_true", help="the good Bundle passes, each broken one is refused")
    parser.add_argument("files", nargs="*", help="*.json, NDJSON, folders of *.json, or - for NDJSON on stdin")
    args = parser.parse_args()
    if not args.files and not args.self_test:
        parser.error("nothing to validate: name files, or -")
    global judges
    judges = Judges(args.package)
    if args.self_test:
        from selftest import self_test

        return self_test(judges)
    try:
        return validate(args.files, args.at_least)
    except (OSError, UnicodeDecodeError) as error:
        print(f"validate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
