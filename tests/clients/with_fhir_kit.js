// Drives a mailbox with fhir-kit-client, a client that others wrote: with_fhir_kit.js BASE MESSAGE. Fails where it does not get on.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Client } from "fhir-kit-client";

const client = new Client({ baseUrl: process.argv[2] });

const statement = await client.capabilityStatement();
assert.equal(statement.fhirVersion, "4.0.1");

const message = JSON.parse(readFileSync(process.argv[3]));
const answer = await client.request("$process-message", {
  method: "POST", body: JSON.stringify(message), options: { headers: { "content-type": "application/fhir+json" } },
});
assert.equal(answer.entry[0].resource.response.code, "ok");

const ids = new Set();
let pages = 0;
for (let page = await client.search({ resourceType: "Encounter", searchParams: { _count: "3" } }); page; ) {
  pages += 1;
  for (const { resource } of page.entry ?? []) ids.add(resource.id);
  page = page.link.some(({ relation }) => relation === "next") ? await client.nextPage({ bundle: page }) : undefined;
}
assert.ok(pages > 1 && ids.size > 3, `${ids.size} visits on ${pages} pages`);

const [id] = ids;
const visit = await client.read({ resourceType: "Encounter", id });
assert.deepEqual(await client.vread({ resourceType: "Encounter", id, version: visit.meta.versionId }), visit);
const history = await client.resourceHistory({ resourceType: "Encounter", id });
assert.deepEqual(history.entry[0].resource, visit);
const byForm = await client.search({
  resourceType: "Encounter", searchParams: { _id: id, _include: "Encounter:patient" }, options: { postSearch: true },
});
assert.deepEqual(byForm.entry.map(({ search }) => search.mode), ["match", "include"]);
await assert.rejects(client.read({ resourceType: "Patient", id: "nobody" }), ({ response }) => response.status === 404);

console.log(`fhir-kit-client: ${ids.size} visits on ${pages} pages`);
