"""Validates FHIR R4 resources with two validators that others wrote, and with the rules that both overlook (rules.py).

Prints one line for each error, `file:line: entry N: expression: message [validator]`, then a summary. The exit code is
0 when nothing is wrong, 1 when something is, 2 when the check itself could not be made.
"""

import argparse
import contextlib
import json
import os
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


def is_false(issue):
    """Findings of pyrofile that are not so. Each one is narrow, and the self-test shows its true sibling refused."""
    if issue.code == "extension.unknown":
        # R4 2.4: an extension needs a published definition, not one in this package.
        return issue.message.startswith(PUBLISHED_ELSEWHERE)
    if issue.code == "element.unknown":
        # R4 2.6.2.3: `_name` holds the extensions of a primitive, in backbone elements as anywhere. rules.py looks
        # whether the primitive exists.
        return issue.path.rsplit(".", 1)[-1].startswith("_")
    if issue.code == "invariant.per-1":
        # It compares texts: wrong for two offsets, and for an end that is a mere day. rules.py compares times.
        return True
    return False


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
            if not is_false(issue):
                yield Found(in_entry(issue, resource) + str(issue.path), issue.message, f"pyrofile {issue.code}")

    def by_models(self, resource):
        try:
            get_fhir_model_class(resource.get("resourceType")).model_validate(resource)
        except ValidationError as wrong:
            for error in wrong.errors(include_url=False, include_input=False):
                yield Found(as_expression(resource, error["loc"]), error["msg"], f"fhir.resources {error['type']}")
        except (KeyError, TypeError, AttributeError) as wrong:
            yield Found(str(resource.get("resourceType")), str(wrong), "fhir.resources")

    def by_rules(self, resource):
        for finding in self.rules.check(resource):
            yield Found(finding.expression, finding.message, f"rules {finding.rule}")


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

judges = None


def judge(item):
    where, text = item
    try:
        resource = strict(text)
    except ValueError as wrong:
        return where, [Found("", str(wrong), "json")]
    return where, judges(resource)


def validate(names, at_least):
    total, wrong, errors = 0, 0, 0
    with Pool(min(2, os.cpu_count() or 1)) as pool:
        for where, found in pool.imap(judge, resources(names)):
            total, wrong, errors = total + 1, wrong + bool(found), errors + len(found)
            for one in found:
                print(f"{where}: {one.expression}: {one.message} [{one.source}]")
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
    return validate(args.files, args.at_least)


if __name__ == "__main__":
    sys.exit(main())
