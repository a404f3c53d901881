-- The tables of a journal. Every rule that is more than the shape of one row is a trigger in guards.sql: the sqlite3 shell
-- opens files with foreign keys off.

-- What the journal is and belongs to: written once.
CREATE TABLE meta (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The user's machines: written once.
CREATE TABLE machine_states (
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  initial INTEGER NOT NULL CHECK (initial IN (0, 1)),
  PRIMARY KEY (machine, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE machine_edges (
  machine TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  PRIMARY KEY (machine, from_state, to_state)
) STRICT, WITHOUT ROWID;

CREATE TABLE machine_needs (
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  step TEXT NOT NULL,
  PRIMARY KEY (machine, state, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE machine_begins (
  machine TEXT NOT NULL,
  step TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (machine, step, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE machine_standings (
  machine TEXT NOT NULL,
  standing TEXT NOT NULL,
  PRIMARY KEY (machine, standing)
) STRICT, WITHOUT ROWID;

-- One row per writer that began.
CREATE TABLE epochs (
  number INTEGER PRIMARY KEY,
  id BLOB NOT NULL CHECK (length(id) = 16),
  pid INTEGER NOT NULL,
  command TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;

-- The history. No constraint but the primary key is unique: each would be one more thing for REPLACE to replace by.
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  machine TEXT NOT NULL,
  stream TEXT NOT NULL CHECK (stream IS NOT ''),
  life TEXT NOT NULL CHECK (life IS NOT ''),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  run TEXT NOT NULL,
  kind TEXT NOT NULL,
  step TEXT,
  attempt INTEGER,
  deadline TEXT,
  digest BLOB,
  intent_seq INTEGER,
  result TEXT,
  topic TEXT,
  state TEXT NOT NULL,
  standing TEXT NOT NULL,
  payload TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  prev_hash BLOB NOT NULL CHECK (length(prev_hash) = 32),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  CHECK (CASE kind
    WHEN 'declare' THEN step IS NULL AND attempt IS NULL AND deadline IS NULL AND digest IS NULL
      AND intent_seq IS NULL AND result IS NULL AND topic IS NULL
    WHEN 'intent' THEN step IS NOT NULL AND step IS NOT '' AND attempt IS NOT NULL AND attempt BETWEEN 1 AND 4294967295
      AND digest IS NOT NULL AND length(digest) = 32 AND intent_seq IS NULL AND result IS NULL AND topic IS NULL
    WHEN 'outcome' THEN step IS NOT NULL AND attempt IS NOT NULL AND deadline IS NULL AND digest IS NULL
      AND intent_seq IS NOT NULL AND result IS NOT NULL AND topic IS NULL
    WHEN 'note' THEN step IS NULL AND attempt IS NULL AND deadline IS NULL AND digest IS NULL
      AND intent_seq IS NULL AND result IS NULL AND topic IS NOT NULL
    ELSE 0 END)
) STRICT;

-- One index for everything: the entries of a stream, whether a life has been, attempts of a step, evidence.
CREATE INDEX entries_of_stream ON entries (machine, stream, life, step, kind, attempt);

-- Where each stream stands, kept by triggers to what its last entry says.
CREATE TABLE streams (
  machine TEXT NOT NULL,
  stream TEXT NOT NULL,
  state TEXT NOT NULL,
  standing TEXT NOT NULL,
  life TEXT NOT NULL,
  generation INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  open_intent INTEGER,
  standing_seq INTEGER NOT NULL,
  state_seq INTEGER NOT NULL,
  ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
  PRIMARY KEY (machine, stream)
) STRICT, WITHOUT ROWID;

-- What entries refer to by digest.
CREATE TABLE blobs (
  digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
  bytes BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The user's own, no part of the history and not guarded.
CREATE TABLE cache (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
