"""One good Bundle (good.json), made wrong in one place at a time, and changed in ways that leave it right.

A path names a resource of the Bundle by its type (`Patient.gender`), or the Bundle itself (`Bundle.entry.1.fullUrl`).
A fault is (what is wrong, what a finding must name, edit); the second column keeps a fault from being refused for some
other reason than its own.
"""

import copy

PATIENT = "http://mailbox/fhir/Patient?identifier=urn:oid:2.16.578.1.12.4.1.4.1%7C13116900216"
ENCOUNTER = "http://mailbox/fhir/Encounter?identifier=urn:stoker:visit:NORTH:PAS%7CV4711"
STANDARD = "http://hl7.org/fhir/StructureDefinition/"
ABSENT = f"{STANDARD}data-absent-reason"
R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedEndDate"
ERASED = {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}
ACTIVE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}


def find(bundle, path):
    """The object or list that holds the last step of a path, and that step."""
    first, *steps = path.split(".")
    at = bundle
    if first != "Bundle":
        at = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == first)
    steps = [int(step) if step.isdigit() else step for step in steps]
    for step in steps[:-1]:
        at = at[step]
    return at, steps[-1]


def put(path, value):
    def edit(bundle):
        at, step = find(bundle, path)
        at[step] = copy.deepcopy(value)

    return edit


def drop(path):
    def edit(bundle):
        at, step = find(bundle, path)
        del at[step]

    return edit


def repeat(path):
    def edit(bundle):
        at, step = find(bundle, path)
        at.insert(step + 1, copy.deepcopy(at[step]))

    return edit


def swap(path):
    """An item changes places with the next one."""

    def edit(bundle):
        at, step = find(bundle, path)
        at[step], at[step + 1] = at[step + 1], at[step]

    return edit


def replace_everywhere(old, new):
    def edit(bundle):
        def walk(value):
            if isinstance(value, dict):
                return {name: walk(child) for name, child in value.items()}
            if isinstance(value, list):
                return [walk(child) for child in value]
            return new if value == old else value

        bundle.update(walk(bundle))

    return edit


def both(*edits):
    def edit(bundle):
        for one in edits:
            one(bundle)

    return edit


FAULTS = [
    # The Bundle
    ("two entries with one fullUrl", "fullUrl", repeat("Bundle.entry.3")),
    ("a fullUrl that names a version", "bdl-8", put("Bundle.entry.1.fullUrl", "http://mailbox/fhir/Patient/1/_history/2")),
    ("a fullUrl of another type than the resource", "fullUrl", replace_everywhere(PATIENT, PATIENT.replace("/Patient", "/Person"))),
    ("a fullUrl that is not absolute", "fullUrl", replace_everywhere(PATIENT, "Patient/1")),
    ("an entry without fullUrl", "fullUrl", drop("Bundle.entry.6.fullUrl")),
    ("the MessageHeader is not first", "MessageHeader", swap("Bundle.entry.0")),
    ("an entry.request in a message", "bdl-3", put("Bundle.entry.1.request", {"method": "PUT", "url": "Patient?identifier=1"})),
    ("an entry.response in a message", "bdl-4", put("Bundle.entry.1.response", {"status": "200"})),
    ("an entry.search in a message", "bdl-2", put("Bundle.entry.1.search", {"mode": "match"})),
    ("a total in a message", "bdl-1", put("Bundle.total", 7)),
    ("a Bundle without a type", "Bundle.type", drop("Bundle.type")),
    ("an unknown type of Bundle", "Bundle.type", put("Bundle.type", "letter")),
    ("a timestamp without seconds", "timestamp", put("Bundle.timestamp", "2024-03-05T08:31+01:00")),
    ("a timestamp without an offset", "timestamp", put("Bundle.timestamp", "2024-03-05T08:31:00")),
    ("an id that is none", "Bundle.id", put("Bundle.id", "a_b")),
    # References
    ("a reference to an entry that is missing", "subject", put("Condition.subject.reference", PATIENT + "9")),
    ("a reference to an absent UUID", "condition",
     put("Encounter.diagnosis.0.condition.reference", "urn:uuid:5e8b1d7c-27a4-5b8e-8f4d-9f3f1a2b3c99")),
    ("a focus that is missing", "focus", put("MessageHeader.focus.1.reference", ENCOUNTER + "9")),
    ("a reference to a wrong type of entry", "subject", put("Encounter.subject.reference", ENCOUNTER)),
    ("a reference to a wrong type of contained resource", "individual", put("Encounter.participant.0.individual.reference", "#l1")),
    ("a reference to a contained resource that is not there", "individual", put("Encounter.participant.0.individual.reference", "#p9")),
    ("a reference into another resource's contained", "generalPractitioner", put("Patient.generalPractitioner.0.reference", "#l1")),
    ("a reference to a wrong type inside a datatype", "assigner", put("Patient.identifier.1.assigner", {"reference": PATIENT})),
    # Contained resources
    ("a contained Practitioner that nothing refers to", "dom-3", drop("Encounter.participant")),
    ("a contained Location whose place in the chain is gone", "dom-3", drop("Encounter.contained.3.partOf")),
    ("a contained resource without an id", "contained", drop("Encounter.contained.0.id")),
    ("two contained resources with one id", "contained", put("Encounter.contained.1.id", "l2")),
    ("a contained resource in a contained one", "dom-2",
     put("Encounter.contained.0.contained", [{"resourceType": "Organization", "id": "o1", "name": "X"}])),
    ("a contained resource with a version", "dom-4", put("Encounter.contained.0.meta", {"versionId": "1"})),
    ("a contained resource with a security label", "dom-5", put("Encounter.contained.0.meta", {"security": [{"code": "R"}]})),
    # Required elements, bindings, codes
    ("a MessageHeader without source.endpoint", "endpoint", drop("MessageHeader.source.endpoint")),
    ("a MessageHeader without source", "source", drop("MessageHeader.source")),
    ("a destination without endpoint", "endpoint", drop("MessageHeader.destination.0.endpoint")),
    ("two forms of event[x]", "event", put("MessageHeader.eventUri", "urn:x")),
    ("no event[x]", "event", drop("MessageHeader.eventCoding")),
    ("an Encounter without status", "status", drop("Encounter.status")),
    ("an Encounter without class", "class", drop("Encounter.class")),
    ("an Encounter.status that R4 does not know", "status", put("Encounter.status", "discharged")),
    ("an Encounter.class that repeats", "class", put("Encounter.class", [{"code": "IMP"}])),
    ("an Encounter.class that ActCode does not know", "class", put("Encounter.class.code", "INPATIENT")),
    ("an Encounter.location.status that R4 does not know", "status", put("Encounter.location.0.status", "there")),
    ("an Encounter.location without location", "location", drop("Encounter.location.0.location")),
    ("a v2 code as gender", "gender", put("Patient.gender", "M")),
    ("a v2 code as name.use", "use", put("Patient.name.0.use", "L")),
    ("a v2 code as address.use", "use", put("Patient.address.0.use", "H")),
    ("a v2 code as telecom.system", "system", put("Patient.telecom.0.system", "PH")),
    ("a code that its v2 table does not have", "identifier", put("Patient.identifier.0.type.coding.0.code", "QQQ")),
    ("a trigger event that v2-0003 does not have", "tag", put("MessageHeader.meta.tag.0.code", "A99")),
    ("a display that is not the code's", "Wrong Display", put("Encounter.class.display", "out there")),
    ("an Observation without status", "status", drop("Observation.status")),
    ("an Observation without code", "code", drop("Observation.code")),
    ("a Procedure without status", "status", drop("Procedure.status")),
    ("a Condition without subject", "subject", drop("Condition.subject")),
    ("a number as code", "valueCode", put("Patient._deceasedDateTime.extension.0.valueCode", 7)),
    # Invariants
    ("a contact without anything to contact", "pat-1", put("Patient.contact.0", {"relationship": [{"text": "N"}]})),
    ("a period that ends before it starts", "per-1", put("Procedure.performedPeriod.end", "2024-03-05T09:59:00+01:00")),
    ("a period that ends before it starts, across zones", "per-1", put("Procedure.performedPeriod.end", "2024-03-05T10:30:00+02:00")),
    ("a period that ends on the day before", "per-1", put("Procedure.performedPeriod.end", "2024-03-04")),
    ("a number to call without a system", "telecom", drop("Patient.telecom.0.system")),
    ("an allergy without clinicalStatus", "ait-1", drop("AllergyIntolerance.clinicalStatus")),
    ("a condition entered in error that is active", "con-5", both(
        put("Condition.verificationStatus.coding.0.code", "entered-in-error"),
        put("Condition.clinicalStatus", ACTIVE))),
    ("a condition abated and active", "con-4", both(
        put("Condition.abatementDateTime", "2024-03-06"),
        put("Condition.clinicalStatus", ACTIVE))),
    ("an observation with a value and a reason for none", "obs-6", put("Observation.dataAbsentReason", {"text": "x"})),
    ("a unit's code without its system", "valueQuantity", drop("Observation.valueQuantity.system")),
    ("an attachment without a type", "valueAttachment", put("Encounter.extension.0", {"url": R5, "valueAttachment": {"data": "QQ=="}})),
    ("a reaction without manifestation", "manifestation", drop("AllergyIntolerance.reaction.0.manifestation")),
    # Values
    ("the 30th of February", "birthDate", put("Patient.birthDate", "1969-02-30")),
    ("an HL7 v2 date", "birthDate", put("Patient.birthDate", "19691113")),
    ("a time without an offset", "effectiveDateTime", put("Observation.effectiveDateTime", "2024-03-05T09:00:00")),
    ("a time without an offset in a period", "period", put("Encounter.period.start", "2024-03-05T08:15:00")),
    ("a time without seconds", "effectiveDateTime", put("Observation.effectiveDateTime", "2024-03-05T09:00+01:00")),
    ("an hour 25", "effectiveDateTime", put("Observation.effectiveDateTime", "2024-03-05T25:00:00+01:00")),
    ("an empty string", "family", put("Patient.contact.0.name.family", "")),
    ("an empty object", "maritalStatus", put("Patient.maritalStatus", {})),
    ("an empty list", "telecom", put("Patient.telecom", [])),
    ("a null in a list of strings", "given", put("Patient.name.0.given", [None])),
    ("a control character", "family", put("Patient.contact.0.name.family", "Be\x1crg")),
    ("a blank code", "code", put("Condition.code.coding.0.code", " ")),
    ("a number as text", "value", put("Observation.valueQuantity.value", "81.5")),
    ("a rank of zero", "rank", put("Encounter.diagnosis.0.rank", 0)),
    ("a text as boolean", "active", put("Patient.active", "Y")),
    ("a blank in an endpoint", "endpoint", put("MessageHeader.source.endpoint", "urn:stoker:endpoint:NORTH:PAS 1")),
    ("an OID that is none", "system", put("Patient.identifier.0.system", "urn:oid:1.2.5.2.")),
    ("a UUID in capitals", "fullUrl", put("Bundle.entry.4.fullUrl", "urn:uuid:5E8B1D7C-27A4-5B8E-8F4D-9F3F1A2B3C02")),
    ("a bare authority as identifier system", "identifier", put("Patient.identifier.1.system", "NORTH")),
    ("a bare authority as code system", "system", put("Procedure.code.coding.0.system", "NCSP")),
    ("a bare value in the system of URIs", "identifier", put("Patient.identifier.1.system", "urn:ietf:rfc:3986")),
    ("a name that is an object", "name", put("Patient.name", {"family": "Berg"})),
    ("a narrative that is no XHTML", "text", put("Encounter.text.div", "<div>Fell <2 m</div>")),
    ("a narrative with a script", "text", put("Encounter.text.div", '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script>y</div>')),
    # Elements and extensions
    ("an element that R4 does not know", "sex", put("Patient.sex", "male")),
    ("an R5 element", "admission", put("Encounter.admission", {"origin": {"display": "x"}})),
    ("an unknown element in a backbone element", "since", put("Encounter.location.0.since", "2024")),
    ("an unknown element in a datatype", "middle", put("Patient.name.0.middle", "J")),
    ("a resource that R4 does not know", "Visit", put("Encounter.resourceType", "Visit")),
    ("extensions beside a primitive that does not exist", "_since", put("Encounter.location.0._since", ERASED)),
    ("extensions beside something that is no primitive", "_period", put("Encounter.location.0._period", ERASED)),
    ("an extension nobody has published", "extension", put("Patient.extension.0", {"url": "urn:stoker:x", "valueString": "x"})),
    ("an extension of R5 that is not named as R5 names them", "extension",
     put("Encounter.extension.0", {"url": "http://hl7.org/fhir/5.0/StructureDefinition/x", "valueString": "x"})),
    ("an extension without a value", "extension", put("Patient.extension.0", {"url": ABSENT})),
    ("an extension whose erased value does not exist", "_valueDay", put("Encounter.extension.0", {"url": R5, "_valueDay": ERASED})),
    ("an extension with a value and parts", "extension", put("Patient.extension.1.valueString", "White")),
    ("a wrong type of value deep in an extension", "_family",
     put("Patient.name.0._family.extension.0", {"url": f"{STANDARD}humanname-own-prefix", "valueInteger": 1})),
    ("an extension where it does not belong", "context",
     put("Encounter.extension.0", {"url": f"{STANDARD}patient-mothersMaidenName", "valueString": "x"})),
]  # fmt: skip

HARMLESS = [
    ("nothing changed", both()),
    ("urn:uuid fullUrls", both(
        replace_everywhere(PATIENT, "urn:uuid:0b1c8d0e-52c3-5c0a-8a4e-2f4c7c9d6a11"),
        replace_everywhere(ENCOUNTER, "urn:uuid:0b1c8d0e-52c3-5c0a-8a4e-2f4c7c9d6a12"),
        put("Bundle.entry.1.link", [{"relation": "search", "url": PATIENT}]))),
    ("a header with endpoints only", both(
        drop("MessageHeader.contained"), drop("MessageHeader.meta"), drop("MessageHeader.sender"), drop("MessageHeader.source.name"),
        put("MessageHeader.destination", [{"endpoint": "urn:oid:2.16.578.1.12.4.1.2.123"}]), drop("Bundle.identifier"))),
    ("a message about the patient only", both(
        *[drop("Bundle.entry.2")] * 5, drop("MessageHeader.focus.1"))),
    ("an erased element in a backbone element", both(
        drop("Encounter.location.0.status"),
        put("Encounter.location.0._status", ERASED))),
    ("extensions beside one of several given names", put("Patient.name.0._given", [None, ERASED])),
    ("an erased item of a list of texts", both(
        put("Patient.name.0.given", [None]), put("Patient.name.0._given", [ERASED]))),
    ("an extension whose value is erased", put("Encounter.extension.0", {"url": R5, "_valueDateTime": ERASED})),
    ("a systolic pressure by itself, under its sender's name",
     put("Observation.code.coding.0", {"system": "http://loinc.org", "code": "8480-6", "display": "BT syst"})),
    ("a LOINC code under another of its names",
     put("Observation.code.coding.0", {"system": "http://loinc.org", "code": "2708-6", "display": "SaO2 % BldA"})),
    ("an end that is the day of the start", put("Procedure.performedPeriod.end", "2024-03-05")),
    ("an end that is earlier in another zone's clock", put("Procedure.performedPeriod.end", "2024-03-05T09:30:00Z")),
    ("an end in the same year", put("Procedure.performedPeriod.end", "2024")),
    ("an end without a start", drop("Procedure.performedPeriod.start")),
    ("a year as birth date", both(put("Patient.birthDate", "1969"), drop("Patient._birthDate"))),
    ("a reference by identifier only", put("Condition.subject", {"identifier": {"system": "urn:x", "value": "1"}})),
]  # fmt: skip


def applied(good, edit):
    bundle = copy.deepcopy(good)
    edit(bundle)
    return bundle
