-- The guards. They call no function of ours, so they hold in the sqlite3 shell as well. `IS NOT` and never `<>`, which passes
-- on NULL. The order of the cases is part of the rules and that of ledger.rs: it decides which of several reasons is told.
-- The word after `phoenix:` is what the writer understands; the rest is for people.

CREATE TRIGGER entries_insert BEFORE INSERT ON entries
BEGIN
  SELECT CASE
    WHEN NEW.epoch IS NOT (SELECT max(number) FROM epochs)
      THEN RAISE(ABORT, 'phoenix: epoch: another writer has begun since')
    WHEN (NEW.seq - 1, NEW.prev_hash) IS NOT (SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1)
      AND NOT (NEW.seq IS 1 AND NEW.prev_hash IS x'0000000000000000000000000000000000000000000000000000000000000000'
        AND NOT EXISTS (SELECT 1 FROM entries))
      THEN CASE WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries)
        THEN RAISE(ABORT, 'phoenix: sequence: an entry follows the last one, without a gap')
        ELSE RAISE(ABORT, 'phoenix: chain: prev_hash is not the hash of the last entry') END
    -- What the stream has already was looked up when it got it.
    WHEN NEW.state IS NOT p.state
        AND NOT EXISTS (SELECT 1 FROM machine_states m WHERE m.machine = NEW.machine AND m.state = NEW.state)
      THEN CASE WHEN NOT EXISTS (SELECT 1 FROM machine_states m WHERE m.machine = NEW.machine)
        THEN RAISE(ABORT, 'phoenix: machine: no such machine')
        ELSE RAISE(ABORT, 'phoenix: state: the machine has no such state') END
    WHEN NEW.standing IS NOT p.standing
        AND NOT EXISTS (SELECT 1 FROM machine_standings m WHERE m.machine = NEW.machine AND m.standing = NEW.standing)
      THEN RAISE(ABORT, 'phoenix: standing: the machine has no such standing')

    WHEN p.machine IS NULL THEN CASE
      WHEN NEW.kind IS NOT 'declare'
        THEN RAISE(ABORT, 'phoenix: undeclared: the first entry of a stream is a declaration')
      WHEN NEW.generation IS NOT 1
        THEN RAISE(ABORT, 'phoenix: generation: the first generation is 1')
      WHEN NOT EXISTS (SELECT 1 FROM machine_states m WHERE m.machine = NEW.machine AND m.state = NEW.state AND m.initial = 1)
        THEN RAISE(ABORT, 'phoenix: initial: a life begins in the initial state')
      END

    WHEN NEW.kind IS 'declare' THEN CASE
      WHEN p.open_intent IS NOT NULL
        THEN RAISE(ABORT, 'phoenix: open: an intent is open and must have its outcome first')
      WHEN NEW.life IS p.life AND p.ended IS NOT 0
        THEN RAISE(ABORT, 'phoenix: ended: the life is over, declare a new one')
      WHEN NEW.life IS NOT p.life AND NOT EXISTS (
          SELECT 1 FROM machine_states m WHERE m.machine = p.machine AND m.state = p.state AND m.initial = 1)
        THEN RAISE(ABORT, 'phoenix: goes-on: a new life begins only in the initial state')
      WHEN NEW.life IS NOT p.life AND EXISTS (
          SELECT 1 FROM entries e WHERE e.machine = NEW.machine AND e.stream = NEW.stream AND e.life = NEW.life)
        THEN RAISE(ABORT, 'phoenix: reused: the life has been before')
      WHEN NEW.generation IS NOT p.generation + 1 AND NOT (NEW.life IS NOT p.life AND NEW.generation IS p.generation)
        THEN RAISE(ABORT, 'phoenix: generation: a declaration raises the generation by one')
      WHEN NEW.state IS NOT p.state
        THEN RAISE(ABORT, 'phoenix: moves: a declaration never changes the state')
      END

    WHEN p.ended IS NOT 0
      THEN RAISE(ABORT, 'phoenix: ended: the life is over, declare a new one')
    WHEN NEW.life IS NOT p.life
      THEN RAISE(ABORT, 'phoenix: life: the stream has another life')
    WHEN NEW.generation IS NOT p.generation
      THEN RAISE(ABORT, 'phoenix: generation: the stream has another generation')

    WHEN NEW.kind IS 'intent' THEN CASE
      WHEN p.open_intent IS NOT NULL
        THEN RAISE(ABORT, 'phoenix: open: an intent is open and must have its outcome first')
      WHEN NEW.state IS NOT p.state
        THEN RAISE(ABORT, 'phoenix: moves: an intent never changes the state')
      WHEN NOT EXISTS (
          SELECT 1 FROM machine_begins b WHERE b.machine = NEW.machine AND b.state = NEW.state AND b.step = CASE
            WHEN instr(NEW.step, '[') > 0 THEN substr(NEW.step, 1, instr(NEW.step, '[') - 1)
            WHEN substr(NEW.step, -7) = '.repair' THEN substr(NEW.step, 1, length(NEW.step) - 7)
            ELSE NEW.step END)
        THEN RAISE(ABORT, 'phoenix: begins: the step does not begin in this state')
      WHEN NEW.attempt IS NOT 1 + (
          SELECT coalesce(max(e.attempt), 0) FROM entries e
          WHERE e.machine = NEW.machine AND e.stream = NEW.stream AND e.life = NEW.life AND e.step = NEW.step AND e.kind = 'intent')
        THEN RAISE(ABORT, 'phoenix: attempt: attempts are counted from 1, without a gap')
      END

    WHEN NEW.kind IS 'outcome' AND (NEW.intent_seq IS NULL OR NEW.intent_seq IS NOT p.open_intent)
      THEN RAISE(ABORT, 'phoenix: no-intent: the outcome is not that of the open intent')
    WHEN NEW.kind IS 'outcome' AND NOT EXISTS (
        SELECT 1 FROM entries i WHERE i.seq = NEW.intent_seq AND i.kind = 'intent'
          AND i.machine = NEW.machine AND i.stream = NEW.stream AND i.life = NEW.life
          AND i.step = NEW.step AND i.attempt = NEW.attempt)
      THEN RAISE(ABORT, 'phoenix: other-intent: the open intent is of another step or attempt')

    WHEN NEW.state IS p.state THEN NULL
    WHEN NOT EXISTS (
        SELECT 1 FROM machine_edges m WHERE m.machine = NEW.machine AND m.from_state = p.state AND m.to_state = NEW.state)
      THEN RAISE(ABORT, 'phoenix: edge: no edge leads from the state of the stream to this one')
    WHEN EXISTS (
        SELECT 1 FROM machine_needs n WHERE n.machine = NEW.machine AND n.state = NEW.state
          AND NOT (NEW.kind IS 'outcome' AND NEW.result IS 'done' AND NEW.step IS n.step)
          AND NOT EXISTS (
            SELECT 1 FROM entries e
            WHERE e.machine = NEW.machine AND e.stream = NEW.stream AND e.life = NEW.life
              AND e.step = n.step AND e.kind = 'outcome' AND e.result = 'done'))
      THEN RAISE(ABORT, 'phoenix: needs: a step that the state needs is not done in this life')
    END
  FROM (SELECT 1) LEFT JOIN streams p ON p.machine = NEW.machine AND p.stream = NEW.stream;
END;

CREATE TRIGGER entries_update BEFORE UPDATE ON entries
BEGIN
  SELECT RAISE(ABORT, 'phoenix: history: entries are never changed');
END;

CREATE TRIGGER entries_delete BEFORE DELETE ON entries
BEGIN
  SELECT RAISE(ABORT, 'phoenix: history: entries are never deleted');
END;

-- Two triggers, whichever comes first: the row of the first has `last_seq` already and is none for the second. One trigger with
-- an INSERT ... SELECT would make SQLite build a temporary table for every entry.
CREATE TRIGGER entries_first AFTER INSERT ON entries
WHEN NEW.kind IS 'declare' AND NOT EXISTS (SELECT 1 FROM streams s WHERE s.machine = NEW.machine AND s.stream = NEW.stream)
BEGIN
  INSERT INTO streams (machine, stream, state, standing, life, generation, last_seq, open_intent, standing_seq, state_seq, ended)
    VALUES (NEW.machine, NEW.stream, NEW.state, NEW.standing, NEW.life, NEW.generation, NEW.seq, NULL, NEW.seq, NEW.seq, 0);
END;

CREATE TRIGGER entries_next AFTER INSERT ON entries
BEGIN
  UPDATE streams SET
    state = NEW.state,
    standing = NEW.standing,
    life = NEW.life,
    generation = NEW.generation,
    last_seq = NEW.seq,
    open_intent = CASE
      WHEN NEW.kind IS 'intent' THEN NEW.seq
      WHEN NEW.kind IS NOT 'note' THEN NULL
      WHEN state IS NEW.state THEN open_intent
      WHEN EXISTS (
        SELECT 1 FROM machine_states m WHERE m.machine = NEW.machine AND m.state = NEW.state AND m.initial = 1) THEN NULL
      ELSE open_intent END,
    standing_seq = CASE WHEN standing IS NOT NEW.standing OR life IS NOT NEW.life THEN NEW.seq ELSE standing_seq END,
    state_seq = CASE WHEN state IS NOT NEW.state OR life IS NOT NEW.life THEN NEW.seq ELSE state_seq END,
    ended = CASE
      WHEN state IS NEW.state THEN 0
      WHEN EXISTS (
        SELECT 1 FROM machine_states m WHERE m.machine = NEW.machine AND m.state = NEW.state AND m.initial = 1) THEN 1
      ELSE 0 END
  WHERE machine = NEW.machine AND stream = NEW.stream AND last_seq < NEW.seq;
END;

-- A position is written only while its stream's entry, the newest of all, is being inserted: at any other time either the
-- newest entry is another stream's, or the position stands at it already.
CREATE TRIGGER streams_insert BEFORE INSERT ON streams
WHEN EXISTS (SELECT 1 FROM streams s WHERE s.machine = NEW.machine AND s.stream = NEW.stream)
  OR (NEW.last_seq, NEW.machine, NEW.stream, NEW.state, NEW.standing, NEW.life, NEW.generation, 'declare', 1) IS NOT (
    SELECT seq, machine, stream, state, standing, life, generation, kind, generation FROM entries ORDER BY seq DESC LIMIT 1)
  OR NEW.open_intent IS NOT NULL OR NEW.standing_seq IS NOT NEW.last_seq OR NEW.state_seq IS NOT NEW.last_seq OR NEW.ended IS NOT 0
BEGIN
  SELECT RAISE(ABORT, 'phoenix: position: a position says what the last entry of its stream says');
END;

CREATE TRIGGER streams_update BEFORE UPDATE ON streams
WHEN NEW.machine IS NOT OLD.machine OR NEW.stream IS NOT OLD.stream OR NEW.last_seq <= OLD.last_seq
  OR (NEW.last_seq, NEW.machine, NEW.stream, NEW.state, NEW.standing, NEW.life, NEW.generation) IS NOT (
    SELECT seq, machine, stream, state, standing, life, generation FROM entries ORDER BY seq DESC LIMIT 1)
BEGIN
  SELECT RAISE(ABORT, 'phoenix: position: a position says what the last entry of its stream says');
END;

CREATE TRIGGER streams_delete BEFORE DELETE ON streams
BEGIN
  SELECT RAISE(ABORT, 'phoenix: position: a position says what the last entry of its stream says');
END;

CREATE TRIGGER epochs_insert BEFORE INSERT ON epochs
BEGIN
  SELECT CASE WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM epochs)
    THEN RAISE(ABORT, 'phoenix: epochs: an epoch follows the last one, without a gap') END;
END;

CREATE TRIGGER epochs_update BEFORE UPDATE ON epochs
BEGIN
  SELECT RAISE(ABORT, 'phoenix: epochs: epochs are never changed');
END;

CREATE TRIGGER epochs_delete BEFORE DELETE ON epochs
BEGIN
  SELECT RAISE(ABORT, 'phoenix: epochs: epochs are never deleted');
END;

-- REPLACE deletes the old row without firing delete triggers; this is what keeps it out.
CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs
BEGIN
  SELECT CASE WHEN EXISTS (SELECT 1 FROM blobs b WHERE b.digest = NEW.digest)
    THEN RAISE(ABORT, 'phoenix: blobs: there is one of this digest already') END;
END;

CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs
BEGIN
  SELECT RAISE(ABORT, 'phoenix: blobs: blobs are never changed');
END;

CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs
BEGIN
  SELECT RAISE(ABORT, 'phoenix: blobs: blobs are never deleted');
END;
