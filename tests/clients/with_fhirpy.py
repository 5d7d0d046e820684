"""Drives a mailbox with fhirpy, a client that others wrote: with_fhirpy.py BASE SAMPLES. Fails where it does not get on."""

import json
import sys
from pathlib import Path

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound


def send(client, samples):
    """Every sample is accepted, and answered a second time as it was the first time."""
    sent = sorted(Path(samples).glob("*.json"))
    for sample in sent:
        bundle = json.loads(sample.read_text())
        first = client.execute("$process-message", method="post", data=bundle)
        header = first["entry"][0]["resource"]
        assert header["response"]["code"] == "ok", (sample.name, first)
        assert header["response"]["identifier"] == bundle["entry"][0]["resource"]["id"]
        assert client.execute("$process-message", method="post", data=bundle) == first, sample.name
    return len(sent)


def read(client):
    """Search, read, reference, version and history agree on what a visit is."""
    visit = client.resources("Encounter").first()
    assert client.reference("Encounter", visit.id).to_resource().serialize() == visit.serialize()
    version = visit["meta"]["versionId"]
    assert client.execute(f"Encounter/{visit.id}/_history/{version}", method="get") == visit.serialize()
    history = client.execute(f"Encounter/{visit.id}/_history", method="get")
    assert history["entry"][0]["resource"] == visit.serialize()
    patient = visit["subject"].to_resource()
    number = next(item for item in patient["identifier"] if "system" in item)
    token = f"{number['system']}|{number['value']}"
    assert patient.id in [found.id for found in client.resources("Patient").search(identifier=token).fetch_all()]
    mine = client.resources("Encounter").search(**{"patient.identifier": token}).include("Encounter", "patient")
    raw = mine.fetch_raw()
    assert any(entry["search"]["mode"] == "include" for entry in raw["entry"])
    pix = client.execute("Patient/$ihe-pix", method="get", params={"sourceIdentifier": token})
    assert pix["resourceType"] == "Parameters", pix


def page(client):
    """Paging by next links finds each visit once, whatever the size of a page."""
    # fhirpy's own count() asks with _totalMethod, which is of one vendor and not of FHIR.
    total = client.resources("Encounter").search(_total="accurate").limit(1).fetch_raw()["total"]
    for size in (1, 7, 1000):
        found = [visit.id for visit in client.resources("Encounter").limit(size).fetch_all()]
        assert len(found) == len(set(found)) == total, (size, len(found), total)
    latest = client.resources("Encounter").sort("-_lastUpdated").fetch_all()
    times = [visit["meta"]["lastUpdated"] for visit in latest]
    assert times == sorted(times, reverse=True)
    return total


def refuse(client):
    try:
        client.reference("Patient", "nobody").to_resource()
    except ResourceNotFound:
        return
    raise AssertionError("a Patient that is not there was found")


def main():
    client = SyncFHIRClient(sys.argv[1])
    sent = send(client, sys.argv[2])
    read(client)
    visits = page(client)
    refuse(client)
    print(f"fhirpy: {sent} messages twice, {visits} visits paged")


main()
