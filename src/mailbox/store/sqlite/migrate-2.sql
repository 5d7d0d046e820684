-- Links between the same two are found by both, however many others one of them is linked to.
DROP INDEX link_event_patient;
CREATE INDEX link_event_pair ON link_event (patient, other, at);
-- So is what replaced somebody who is also linked to many.
CREATE INDEX link_replaced ON link (patient) WHERE kind = 1;
