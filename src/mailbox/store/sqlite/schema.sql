-- One row for each resource: where it stands now, and what is searched. A removed one keeps its row for history, with
-- the searched columns NULL so that it leaves the partial indexes.
CREATE TABLE resource (
  pk         INTEGER PRIMARY KEY,
  kind       INTEGER NOT NULL,
  id         BLOB    NOT NULL,  -- 16 bytes for a UUID, else text; so are all ids below
  version    INTEGER NOT NULL,
  current    INTEGER NOT NULL,  -- version.seq
  updated    INTEGER NOT NULL,
  removed    INTEGER NOT NULL,
  patient    INTEGER,           -- resource.pk of the subject
  encounter  INTEGER,           -- resource.pk of the visit
  status     TEXT,
  date_from  INTEGER,           -- microseconds since 1970, inclusive
  date_to    INTEGER,
  event      INTEGER NOT NULL,  -- time of the newest event applied
  clinical   INTEGER,           -- time of the newest clinical snapshot applied
  person     INTEGER            -- Patient: the person it is, by the links
);
CREATE UNIQUE INDEX resource_id        ON resource (id, kind);
CREATE INDEX        resource_kind      ON resource (kind) WHERE removed = 0;
CREATE INDEX        resource_patient   ON resource (patient, kind) WHERE patient IS NOT NULL;
CREATE INDEX        resource_encounter ON resource (encounter, kind) WHERE encounter IS NOT NULL;
CREATE INDEX        resource_status    ON resource (kind, status) WHERE status IS NOT NULL;
CREATE INDEX        resource_date      ON resource (kind, date_from) WHERE date_from IS NOT NULL;
CREATE INDEX        resource_until     ON resource (kind, date_to, date_from) WHERE date_to IS NOT NULL;
CREATE INDEX        resource_updated   ON resource (kind, updated) WHERE removed = 0;
CREATE INDEX        resource_person    ON resource (person) WHERE person IS NOT NULL;

-- Every version of every resource, appended. `previous` chains them, which spares an index that each write would pay for.
CREATE TABLE version (
  seq      INTEGER PRIMARY KEY,
  resource INTEGER NOT NULL,
  version  INTEGER NOT NULL,
  previous INTEGER,
  updated  INTEGER NOT NULL,
  removed  INTEGER NOT NULL,
  tail     BLOB    NOT NULL      -- canonical text from behind meta.lastUpdated, compressed where that makes it smaller
);

-- Endpoints and systems, which many rows repeat.
CREATE TABLE uri (
  pk  INTEGER PRIMARY KEY,
  uri TEXT NOT NULL UNIQUE
);

-- Who carries an identifier (until IS NULL) or did.
CREATE TABLE identifier (
  kind     INTEGER NOT NULL,
  value    TEXT    NOT NULL,
  system   INTEGER NOT NULL,     -- uri.pk
  resource INTEGER NOT NULL,
  since    INTEGER NOT NULL,
  until    INTEGER,
  listed   INTEGER NOT NULL,     -- 1 while the resource shows it, if only as an old one
  PRIMARY KEY (kind, value, system, resource)
) WITHOUT ROWID;

-- The systems that identifiers came under.
CREATE TABLE identifier_system (
  kind   INTEGER NOT NULL,
  system INTEGER NOT NULL,       -- uri.pk
  PRIMARY KEY (kind, system)
) WITHOUT ROWID;

-- Which Patients are the same person. Kind 1: patient was replaced by other; kind 2: see also, patient < other.
CREATE TABLE link (
  patient    INTEGER NOT NULL,
  other      INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  since      INTEGER NOT NULL,  -- time of the event that asked for it
  was_active INTEGER,           -- Patient.active before it was replaced: 0, 1, NULL for absent
  PRIMARY KEY (patient, other)
) WITHOUT ROWID;
CREATE INDEX link_other ON link (other);

-- Every link and unlink, with the message that asked for it.
CREATE TABLE link_event (
  seq      INTEGER PRIMARY KEY,
  linked   INTEGER NOT NULL,    -- 1 link, 0 unlink
  patient  INTEGER NOT NULL,
  other    INTEGER NOT NULL,
  kind     INTEGER NOT NULL,
  at       INTEGER NOT NULL,    -- time of the event
  recorded INTEGER NOT NULL,
  message  INTEGER NOT NULL     -- message.seq
);
CREATE INDEX link_event_patient ON link_event (patient);
CREATE INDEX link_event_other   ON link_event (other);

-- The log: messages as they came and answers as they went, in order.
CREATE TABLE message (
  seq        INTEGER PRIMARY KEY,
  received   INTEGER NOT NULL,
  bundle_id  BLOB    NOT NULL,
  message_id BLOB    NOT NULL,
  source     INTEGER NOT NULL,   -- uri.pk
  system     INTEGER,            -- uri.pk of Bundle.identifier.system
  control    TEXT,               -- Bundle.identifier.value
  body       BLOB    NOT NULL    -- compressed where that makes it smaller
);
CREATE INDEX message_bundle  ON message (bundle_id);
CREATE INDEX message_control ON message (control) WHERE control IS NOT NULL;

-- What can be read as a log: all messages for one destination (event '') and those of one event (system|code).
CREATE TABLE list (
  pk          INTEGER PRIMARY KEY,
  destination TEXT NOT NULL,
  event       TEXT NOT NULL,
  UNIQUE (destination, event)
);

-- The messages of each list, numbered from 0 without a gap: a page costs the same wherever it starts.
CREATE TABLE delivery (
  list     INTEGER NOT NULL,
  position INTEGER NOT NULL,
  message  INTEGER NOT NULL,
  PRIMARY KEY (list, position)
) WITHOUT ROWID;

-- What a message was answered, for its duplicates.
CREATE TABLE answer (
  message_id BLOB    NOT NULL,
  source     INTEGER NOT NULL,
  bundle_id  BLOB    NOT NULL,
  received   INTEGER NOT NULL,
  accepted   INTEGER NOT NULL,
  response   INTEGER NOT NULL,   -- message.seq
  PRIMARY KEY (message_id, source)
) WITHOUT ROWID;
CREATE INDEX answer_received ON answer (received);

-- Answers that are still to be sent to where their sender wants them.
CREATE TABLE errand (
  message  INTEGER PRIMARY KEY,  -- message.seq of the answer
  url      TEXT    NOT NULL,
  attempts INTEGER NOT NULL,
  due      INTEGER NOT NULL
);
CREATE INDEX errand_due ON errand (due);

-- One row: the newest answer that was forgotten because there were too many.
CREATE TABLE forgotten (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  until INTEGER NOT NULL
);
