"""Asks our own mailbox and writes what it answers, one resource a line: answers.py STOKER.

`stoker demo --keep` fills a mailbox with the samples. What it then says of itself, finds, refuses and replies to a
message is FHIR too, and is judged like a Bundle.
"""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TYPES = ["Patient", "Encounter", "Condition", "Procedure", "Observation", "AllergyIntolerance"]
READS = [
    "metadata",
    *[f"{kind}?_count=50" for kind in TYPES],
    *[f"{kind}?_count=2&_offset=1" for kind in TYPES],
    "Encounter?status=finished",
    "Encounter?patient.identifier=urn:x%7Cnobody",
    "Bundle?message.destination-uri=urn:x&_offset=0&_count=5",
    "Patient/$ihe-pix?sourceIdentifier=urn:x%7Cnobody",
    "Patient/nobody",
    "Nonsense/1",
]
FORM = "application/fhir+json"


def ask(url, body=None):
    headers = {"Accept": FORM, "Content-Type": FORM}
    try:
        with urlopen(Request(url, body, headers), timeout=30) as answer:
            return json.load(answer)
    except HTTPError as refusal:
        return json.load(refusal)  # an OperationOutcome says why


def answers(base, samples):
    for path in READS:
        yield ask(f"{base}/{path}")
    for kind in TYPES:
        first = ask(f"{base}/{kind}?_count=1")["entry"][0]["resource"]["id"]
        yield ask(f"{base}/{kind}/{first}")
        yield ask(f"{base}/{kind}/{first}/_history")
    for sample in sorted(samples.glob("*.json")):
        yield ask(f"{base}/$process-message", sample.read_bytes())
    yield ask(f"{base}/$process-message", b'{"resourceType": "Bundle", "type": "message"}')
    yield ask(f"{base}/$process-message", b"not JSON")


def main():
    command = [sys.argv[1], "demo", "--keep"]
    demo = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    deadline = threading.Timer(300, demo.kill)
    deadline.start()
    try:
        said = []
        for line in demo.stdout:
            said.append(line)
            if "still running" in line:
                break
        else:
            sys.exit(f"answers: the demo ended early\n{''.join(said)}")
        base = re.search(r"mailbox at (http\S+?),", "".join(said))[1]
        for resource in answers(base, Path(__file__).parents[2] / "samples"):
            print(json.dumps(resource))
    finally:
        deadline.cancel()
        demo.send_signal(signal.SIGINT)
        demo.wait(timeout=60)


if __name__ == "__main__":
    main()
