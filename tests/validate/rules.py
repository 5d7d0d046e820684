"""What R4 demands and both validators overlook, as plain code.

pyrofile evaluates the invariants of resources but not those of datatypes, does not look up references that carry a
query (ours all do), and fhir.resources knows structure only. So: the invariants of the datatypes we send, references
that must resolve inside a message, and the rules of contained resources. The definitions say what type each element
has; nothing here knows what a hospital sends.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

STANDARD = "http://hl7.org/fhir/StructureDefinition/"
URIS = {"uri", "url", "canonical", "oid", "uuid"}
QUANTITIES = {"Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration"}

# Every rule there is; the self-test sees to it that each of them refuses something.
RULES = {
    "att-1", "bdl-7", "cpt-2", "dom-2", "dom-3", "dom-4", "dom-5", "ele-1", "element", "entry-reference", "entry-type",
    "entry-url", "ext-1", "ext-value", "identifier", "per-1", "qty-3", "ref-1", "ref-type", "string",
    "uri",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    rule: str
    expression: str
    message: str


@dataclass(frozen=True)
class Element:
    """One element of a definition: its path there, the types it may have, and what a reference may point at."""

    path: str
    types: tuple[str, ...]
    targets: frozenset[str]


class Definitions:
    """The StructureDefinitions of the package, read when first asked for."""

    def __init__(self, package):
        self.package = Path(package)
        self.read = lru_cache(maxsize=None)(self.read)

    def read(self, name):
        file = self.package / f"StructureDefinition-{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    @lru_cache(maxsize=None)
    def elements(self, name):
        definition = self.read(name)
        return {} if definition is None else {e["path"]: e for e in definition["snapshot"]["element"]}

    @lru_cache(maxsize=None)
    def child(self, path, name):
        """The element `name` below `path` (`Patient`, `Patient.contact`), a choice by the type in its name."""
        elements = self.elements(path.split(".")[0])
        found = elements.get(f"{path}.{name}")
        if found is not None:
            return self.element(found)
        for end in range(1, len(name)):
            choice = elements.get(f"{path}.{name[:end]}[x]")
            types = [t for t in choice["type"] if capital(t["code"]) == name[end:]] if choice else []
            if types:
                return self.element({"path": choice["path"], "type": types})
        return None

    def element(self, raw):
        if "contentReference" in raw:
            return Element(raw["contentReference"].lstrip("#"), ("BackboneElement",), frozenset())
        types = tuple(t["code"].rsplit(".", 1)[-1] for t in raw.get("type", []))
        targets = {p.rsplit("/", 1)[-1] for t in raw.get("type", []) for p in t.get("targetProfile", [])}
        return Element(raw["path"], types, frozenset(targets))

    def extension_types(self, url):
        """The value types that the definition of a standard extension allows; None where R4 does not define it."""
        definition = self.read(url.removeprefix(STANDARD)) if url.startswith(STANDARD) else None
        if definition is None or definition["type"] != "Extension":
            return None
        value = next((e for e in definition["snapshot"]["element"] if e["path"] == "Extension.value[x]"), {})
        return {capital(t["code"]) for t in value.get("type", [])} if value.get("max") != "0" else set()


class Checker:
    """Walks one resource along its definitions and collects what is wrong."""

    def __init__(self, definitions):
        self.definitions = definitions

    def check(self, resource):
        self.findings = []
        self.targets = None
        self.containers = []
        if resource.get("resourceType") == "Bundle" and resource.get("type") == "message":
            self.message(resource)
        self.resource(resource, resource.get("resourceType", "?"))
        return self.findings

    def report(self, rule, expression, message):
        self.findings.append(Finding(rule, expression, message))

    # The walk

    def resource(self, resource, at):
        kind = resource.get("resourceType")
        if not isinstance(kind, str) or not self.definitions.elements(kind):
            self.report("element", at, f"{kind!r} is no resource type of R4")
            return
        self.containers.append(resource)
        if resource.get("contained"):
            self.contained(resource, at)
        self.members({name: value for name, value in resource.items() if name != "resourceType"}, kind, at)
        self.containers.pop()

    def members(self, value, path, at):
        for name, child in value.items():
            element = self.definitions.child(path, name.lstrip("_"))
            below = f"{at}.{name}"
            if element is None:
                self.report("element", below, "no such element in R4")
            elif name.startswith("_"):
                self.beside(child, element, below)
            else:
                self.items(child, element, below, value.get(f"_{name}"))

    def beside(self, child, element, at):
        """The id and extensions of a primitive, which JSON keeps in a member of their own (`_birthDate`)."""
        if not is_primitive(element.types[0]):
            self.report("element", at, "only a primitive has a member with an underscore")
            return
        for index, item in enumerate(child if isinstance(child, list) else [child]):
            if isinstance(item, dict) and item:
                self.members(item, "Element", f"{at}[{index}]" if isinstance(child, list) else at)
            elif item is not None or not isinstance(child, list):
                self.report("ele-1", at, "an element has a value or children")

    def items(self, value, element, at, beside):
        if value in ("", None, []):
            self.report("ele-1", at, "an element has a value or children")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                extended = isinstance(beside, list) and index < len(beside) and beside[index]
                if item is not None or not extended:
                    self.item(item, element, f"{at}[{index}]")
        else:
            self.item(value, element, at)

    def item(self, value, element, at):
        kind = element.types[0]
        if value in ("", None, {}):
            self.report("ele-1", at, "an element has a value or children")
        elif is_primitive(kind):
            self.primitive(kind, value, at)
        elif not isinstance(value, dict):
            return  # both validators refuse that
        elif kind == "Resource":
            self.resource(value, at)
        elif kind in ("BackboneElement", "Element"):
            self.members(value, element.path, at)
        else:
            self.datatype(kind, value, element, at)
            self.members(value, kind, at)

    # The rules of datatypes

    def primitive(self, kind, value, at):
        if isinstance(value, str) and CONTROL.search(value):
            self.report("string", at, "a string holds no characters below U+0020 but tab and line ends")
        if kind in URIS and isinstance(value, str) and not well_formed(value):
            self.report("uri", at, f"{value!r} is no {kind}")

    def datatype(self, kind, value, element, at):
        if kind == "ContactPoint" and "value" in value and "system" not in value:
            self.report("cpt-2", at, "a system is required if a value is provided")
        elif kind in QUANTITIES and "code" in value and "system" not in value:
            self.report("qty-3", at, "if a code for the unit is present, the system shall be present too")
        elif kind == "Attachment" and "data" in value and "contentType" not in value:
            self.report("att-1", at, "if the attachment has data, it shall have a contentType")
        elif kind == "Period" and not in_order(value.get("start"), value.get("end")):
            self.report("per-1", at, f"ends ({value['end']}) before it starts ({value['start']})")
        elif kind == "Extension":
            self.extension(value, at)
        elif kind == "Identifier" and not is_identifier(value):
            self.report("identifier", at, "the system is an absolute URI, and urn:ietf:rfc:3986 for a URI")
        elif kind == "Reference" and isinstance(value.get("reference"), str):
            self.reference(value["reference"], element, at)

    def extension(self, value, at):
        held = [name for name in value if name.lstrip("_").startswith("value")]
        if bool(held) == ("extension" in value):
            self.report("ext-1", at, "has either extensions or a value, not both and not neither")
        allowed = self.definitions.extension_types(str(value.get("url")))
        for name in held if allowed is not None else []:
            if name.lstrip("_").removeprefix("value") not in allowed:
                self.report("ext-value", at, f"{value['url']} has no {name}")

    # References

    def reference(self, text, element, at):
        kind = self.contained_type(text) if text.startswith("#") else self.entry_type(text)
        if kind is None:
            rule, where = ("ref-1", "the resource") if text.startswith("#") else ("entry-reference", "the Bundle")
            self.report(rule, f"{at}.reference", f"{text} is not in {where}")
        elif kind and element.targets and not element.targets & {kind, "Resource"}:
            allowed = " or ".join(sorted(element.targets))
            self.report("ref-type", f"{at}.reference", f"{text} is {a(kind)}, not {allowed}")

    def contained_type(self, text):
        """Contained resources share one namespace: that of the resource which is not itself contained."""
        container = next((c for c in self.containers if c["resourceType"] != "Bundle"), None)
        return next((c.get("resourceType") for c in contained_in(container) if f"#{c.get('id')}" == text), None)

    def entry_type(self, text):
        """The type of what a reference means; nothing (an empty text) where it may point out of what is at hand."""
        if self.targets is not None:
            return self.targets.get(text)
        return next((kind for kind in re.findall(r"([A-Z][A-Za-z]+)/[^/]+$", text)), "")

    # A message: what it refers to, it brings along

    def message(self, bundle):
        entries = [e for e in bundle.get("entry") or [] if isinstance(e, dict)]
        urls = Counter(e.get("fullUrl") for e in entries)
        self.targets = {}
        for index, entry in enumerate(entries):
            at, url = f"Bundle.entry[{index}].fullUrl", entry.get("fullUrl")
            kind = (entry.get("resource") or {}).get("resourceType")
            named = re.search(r"/([A-Z][A-Za-z]+)(?:\?|/[A-Za-z0-9.-]{1,64}$)", url or "")
            if not url:
                self.report("entry-url", at, "an entry without a fullUrl cannot be referred to")
            elif urls[url] > 1 and url not in self.targets:
                self.report("bdl-7", at, f"{urls[url]} entries have the fullUrl {url}")
            elif named and named[1] != kind:
                self.report("entry-type", at, f"the fullUrl says {named[1]}, the resource is {a(kind)}")
            self.targets.setdefault(url, kind)

    # Contained resources

    def contained(self, container, at):
        if len([c for c in self.containers if c["resourceType"] != "Bundle"]) > 1:
            self.report("dom-2", f"{at}.contained", "a contained resource shall not contain others")
        children = contained_in(container)
        ids = Counter(child.get("id") for child in children)
        referred = {text for child in [rest(container), *children] for text in references(child)}
        for index, child in enumerate(children):
            where, named = f"{at}.contained[{index}]", f"#{child.get('id')}"
            meta = child.get("meta") or {}
            if ids[child.get("id")] > 1:
                self.report("ref-1", where, f"{ids[child.get('id')]} contained resources have the id {child.get('id')}")
            if named not in referred:
                self.report("dom-3", where, f"{named} is not referred to from {a(container['resourceType'])}")
            if "versionId" in meta or "lastUpdated" in meta:
                self.report("dom-4", where, "a contained resource has no versionId and no lastUpdated")
            if "security" in meta:
                self.report("dom-5", where, "a contained resource has no security label")


def a(kind):
    return f"an {kind}" if str(kind)[:1] in "AEIOU" else f"a {kind}"


def capital(code):
    return code[:1].upper() + code[1:]


def is_primitive(kind):
    return kind[:1].islower() or kind in ("String", "Boolean", "Integer", "Decimal", "Date", "DateTime", "Time")


def contained_in(resource):
    contained = resource.get("contained", [])
    return [c for c in contained if isinstance(c, dict)] if isinstance(contained, list) else []


def rest(resource):
    return {name: value for name, value in resource.items() if name != "contained"}


def references(value):
    if isinstance(value, list):
        return {text for item in value for text in references(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
    return own.union(*(references(child) for child in value.values()))


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")
OID = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+")
UUID = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def well_formed(uri):
    """The regular expressions of R4's uri, oid and uuid: no white space, no leading zeros, UUIDs in lower case."""
    if uri.startswith("urn:oid:"):
        return bool(OID.fullmatch(uri))
    if uri.startswith("urn:uuid:"):
        return bool(UUID.fullmatch(uri))
    return not re.search(r"\s", uri)


def is_identifier(identifier):
    system, value = identifier.get("system", "urn:x"), identifier.get("value", "urn:x")
    return bool(SCHEME.match(system)) and (system != "urn:ietf:rfc:3986" or bool(SCHEME.match(value)))


MOMENT = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?$"
)


def in_order(start, end):
    """R4 Period: the end includes all that matches it, so 10 o'clock of a day is within a period that ends that day."""
    first, last = MOMENT.match(str(start)), MOMENT.match(str(end))
    if not first or not last:
        return True  # what is no date at all is refused elsewhere
    try:
        zone = first[7] or last[7]
        return span(first, zone)[0] <= span(last, last[7] or zone)[1]
    except ValueError:
        return True


def span(match, zone):
    """The first and the last moment that a date of any precision may mean; one without an offset takes `zone`."""
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
    offset = datetime.strptime((zone or "Z").replace("Z", "+00:00"), "%z").tzinfo or timezone.utc
    low = datetime(year, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=offset)
    if hour is not None:
        return low, low + timedelta(seconds=59 if second is None else 0.999999)
    if day is not None:
        return low, low + timedelta(days=1, microseconds=-1)
    following = datetime(year + (month in (None, 12)), (month or 12) % 12 + 1, 1, tzinfo=offset)
    return low, following - timedelta(microseconds=1)
