"""Writes src/v2/standard.txt: what the HL7 v2 standard calls its fields and components, and which segments the ADT
messages have.

Source: the PyPI package hl7apy (MIT), which holds the message definitions of HL7 v2.1 to v2.8.2:

    pip install hl7apy && python3 src/v2/standard.py > src/v2/standard.txt
"""
import importlib
import re

VERSIONS = ["v2_2", "v2_3", "v2_3_1", "v2_4", "v2_5", "v2_5_1", "v2_6", "v2_7", "v2_8", "v2_8_1", "v2_8_2"]
# The abstract message structure of each trigger event that has none of its own (HL7 v2.5.1 ch. 3.3).
STRUCTURE = {
    "A01": "A04 A08 A13", "A05": "A14 A28 A31", "A06": "A07", "A09": "A10 A11", "A30": "A34 A35 A36 A46 A47 A48 A49",
    "A21": "A22 A23 A25 A26 A27 A29 A32 A33", "A39": "A40 A41 A42", "A43": "A44",
}
WITHOUT = ["Hxx", "Zxx", "anyHL7Segment", "anyZSegment"]
UPPER = {"id", "ssn", "vip", "drg", "ub", "npi", "udi", "icd", "hl7", "oid", "uri", "ami", "er", "dna", "tpa", "iii"}

HEADER = """\
# The HL7 v2 standard, versions 2.2 to 2.8.2, as far as ADT goes. Written by src/v2/standard.py. Do not edit.
#   @A01 SEGMENT SEGMENT ...   the segments that a message of the event may have, in any version
#   PID-5 XPN Name             a field, its newest datatype, what the standard calls it
#   XPN.2 ST Name              a component of a datatype"""


def words(name):
    text = name.replace("_S_", "'s ").replace("DATE_TIME", "DATE/TIME").replace("_", " ").lower().strip()
    text = re.sub(r"^set id .*", "set id", text)
    text = re.sub(r" e g (.*)$", r" (e.g. \1)", text)
    text = re.sub(r"\b[a-z0-9]+\b", lambda m: m[0].upper() if m[0] in UPPER else m[0], text)
    return text[:1].upper() + text[1:]


def segments_of(structure):
    for name, child, _, kind in structure[1]:
        if kind == "SEG":
            yield name
        else:
            yield from segments_of(child)


def typed(known, child):
    """Datatype and name; `WD` (withdrawn) is no datatype."""
    kind = child[2] if child[2] and child[2] != "WD" else known[0] if known else "ST"
    return kind, child[3]


def load(version):
    package = f"hl7apy.{version}"
    part = lambda name: importlib.import_module(f"{package}.{name}")
    return part("messages").MESSAGES, part("fields").FIELDS, part("datatypes")


def number(key):
    name, n = re.split(r"[_]", key)
    return name, int(n)


def main():
    events, fields, components = {}, {}, {}
    of_event = {event: base for base, others in STRUCTURE.items() for event in others.split()}
    for version in VERSIONS:
        messages, definitions, datatypes = load(version)
        for n in range(1, 51):
            event = f"A{n:02}"
            for key in (f"ADT_{event}", f"ADT_{of_event.get(event, event)}"):
                if key in messages:
                    found = events.setdefault(event, [])
                    for segment in segments_of(messages[key]):
                        if segment not in found and segment not in WITHOUT:
                            found.append(segment)
        for key, child in definitions.items():
            # A withdrawn field has no name any more: it keeps the one it had.
            if child and child[3] and "WITHDRAWN" not in child[3] and re.match(r"[A-Z][A-Z0-9]{2}_\d+$", key):
                fields[key] = typed(fields.get(key), child)
        for key, child in datatypes.DATATYPES.items():
            if child[3] and re.match(r"[A-Z]{2,3}_\d+$", key):
                components[key] = typed(components.get(key), child)
    used = {segment for found in events.values() for segment in found} | {"NTE", "IAM", "PRT", "SFT", "NPU", "BLG"}
    lines = [f"@{event} {' '.join(found)}" for event, found in sorted(events.items())]
    types = set()
    for key in sorted((k for k in fields if number(k)[0] in used), key=number):
        name, n = number(key)
        kind, text = fields[key]
        types.add(kind)
        lines.append(f"{name}-{n} {kind} {words(text)}")
    todo = list(types)
    while todo:
        kind = todo.pop()
        for key in components:
            inner = components[key][0]
            if number(key)[0] == kind and inner not in types:
                types.add(inner)
                todo.append(inner)
    for key in sorted((k for k in components if number(k)[0] in types), key=number):
        name, n = number(key)
        kind, text = components[key]
        lines.append(f"{name}.{n} {kind} {words(text)}")
    print(HEADER, *lines, sep="\n")


main()
