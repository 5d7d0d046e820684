"""Shows that the check can fail: the good Bundle passes, and so do its harmless variants; each fault is refused, by its
own name; and each of our own rules refuses something."""

import json
from pathlib import Path

from broken import FAULTS, HARMLESS, applied
from rules import RULES

JUDGES = ("pyrofile", "fhir.resources", "rules")


def self_test(judges):
    good = json.loads(Path(__file__).with_name("good.json").read_text(encoding="utf-8"))
    failed, passed, used = [], 0, set()
    for name, edit in HARMLESS:
        found = judges(applied(good, edit))
        passed += not found
        failed += [f"refused, and is right: {name}: {one.expression}: {one.message} [{one.source}]" for one in found]
    caught = dict.fromkeys(JUDGES, 0)
    for name, mark, edit in FAULTS:
        found = judges(applied(good, edit))
        named = {one.source.split()[0] for one in found if mark in f"{one.expression} {one.message} {one.source}"}
        used |= {one.source.split()[-1] for one in found}
        for judge in named:
            caught[judge] += 1
        passed += bool(named)
        if not named:
            failed.append(f"passes, and is wrong: {name} (nothing found names {mark!r})")
        print(f"{name}: {', '.join(judge for judge in JUDGES if judge in named) or 'NOT REFUSED'}")
    failed += [f"no fault shows that the rule {rule} refuses anything" for rule in sorted(RULES - used)]
    print(f"of {len(FAULTS)} faults: " + ", ".join(f"{judge} refuses {caught[judge]}" for judge in JUDGES))
    print("\n".join(failed) + "\n" if failed else "", end="")
    print(f"self-test: {passed} passed, {len(failed)} failed")
    return 1 if failed else 0
