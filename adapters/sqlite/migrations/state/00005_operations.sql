-- +goose Up
-- What operators see and want of the reactions. Messages get what they are looked for by; times are microseconds since 1970.
CREATE TABLE parked_message_new (
    id          INTEGER PRIMARY KEY,
    fail        TEXT    NOT NULL UNIQUE, -- its public name
    handler     TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('parked', 'blocked', 'scheduled', 'resolved', 'discarded')),
    parked_at   INTEGER NOT NULL,
    ended_at    INTEGER, -- when it was resolved or discarded
    ended_by    TEXT    NOT NULL, -- an act, a replay, 'backoff'
    type        TEXT    NOT NULL,
    correlation TEXT    NOT NULL,
    accounts    TEXT    NOT NULL, -- with a space between them
    class       TEXT    NOT NULL, -- of the last failure, as the next two; '': it has not failed itself
    error       TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    metadata    TEXT    NOT NULL, -- headers, a JSON object
    payload     BLOB    NOT NULL,
    UNIQUE (handler, incarnation, position)
) STRICT;

-- What was parked before these columns were has an empty group, and a name of its own.
INSERT INTO parked_message_new SELECT id, 'fail_' || printf('%026d', id), handler, topic, partition, key, incarnation, position,
    status, parked_at, ended_at, '', coalesce(json_extract(metadata, '$.ce_type'), ''),
    coalesce(json_extract(metadata, '$.correlation_id'), ''), '',
    coalesce((SELECT class FROM parked_attempt a WHERE a.message = m.id ORDER BY n DESC LIMIT 1), ''),
    coalesce((SELECT error FROM parked_attempt a WHERE a.message = m.id ORDER BY n DESC LIMIT 1), ''), '',
    (SELECT count(*) FROM parked_attempt a WHERE a.message = m.id), metadata, payload FROM parked_message m;

CREATE TABLE parked_attempt_new (
    message INTEGER NOT NULL,
    n       INTEGER NOT NULL, -- from 1
    at      INTEGER NOT NULL,
    took    INTEGER NOT NULL, -- nanoseconds
    class   TEXT    NOT NULL,
    error   TEXT    NOT NULL,
    stack   TEXT    NOT NULL,
    tried_by TEXT   NOT NULL, -- 'stream', 'backoff', an act or a replay
    PRIMARY KEY (message, n)
) WITHOUT ROWID, STRICT;
INSERT INTO parked_attempt_new SELECT message, n, at, took, class, error, stack, 'stream' FROM parked_attempt;
DROP TABLE parked_attempt;
DROP TABLE parked_message;
ALTER TABLE parked_message_new RENAME TO parked_message;
ALTER TABLE parked_attempt_new RENAME TO parked_attempt;

CREATE INDEX parked_in_order    ON parked_message (handler, key, id);
CREATE INDEX parked_time        ON parked_message (parked_at, fail);
CREATE INDEX parked_handler     ON parked_message (handler, parked_at, fail);
CREATE INDEX parked_status      ON parked_message (status, parked_at, fail);
CREATE INDEX parked_class       ON parked_message (class, parked_at, fail) WHERE class <> '';
CREATE INDEX parked_fingerprint ON parked_message (fingerprint, parked_at, fail) WHERE fingerprint <> '';
CREATE INDEX parked_correlation ON parked_message (correlation, parked_at, fail) WHERE correlation <> '';
CREATE INDEX parked_ended_by    ON parked_message (ended_by) WHERE ended_by <> '';

-- head: the message that waits first; 0: none does, as of a key that is paused. due_at: when it is tried next; 0: by hand.
ALTER TABLE parked_sequence ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN rebuild TEXT NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN class TEXT NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN failed_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sequence_since ON parked_sequence (since, id);
CREATE INDEX sequence_of    ON parked_sequence (handler, since, id);
CREATE INDEX sequence_due   ON parked_sequence (due_at) WHERE due_at > 0;
CREATE INDEX sequence_group ON parked_sequence (fingerprint, handler, waiting, since, failed_at) WHERE fingerprint <> '';

UPDATE parked_sequence SET id = 'seq_' || lower(hex(randomblob(16))),
    head = coalesce((SELECT min(m.id) FROM parked_message m
        WHERE m.handler = parked_sequence.handler AND m.key = parked_sequence.key AND m.ended_at IS NULL), 0);

-- The accounts that a message touches. fingerprint is its group while it is one of the failures in it, or else ''.
CREATE TABLE parked_account (
    account     TEXT NOT NULL,
    parked_at   INTEGER NOT NULL,
    fail        TEXT NOT NULL,
    message     INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (account, parked_at, fail)
) WITHOUT ROWID, STRICT;
CREATE INDEX parked_account_message ON parked_account (message);
CREATE INDEX parked_account_group ON parked_account (fingerprint, account) WHERE fingerprint <> '';

-- What failures have in common that have one fingerprint.
CREATE TABLE parked_group (
    fingerprint TEXT PRIMARY KEY,
    handler     TEXT NOT NULL,
    class       TEXT NOT NULL,
    error       TEXT NOT NULL -- of the first one
) WITHOUT ROWID, STRICT;

-- Who works on a sequence now, until when. It stands by itself: handlers lock the rows of sequences.
CREATE TABLE parked_claim (
    handler TEXT NOT NULL,
    key     TEXT NOT NULL,
    owner   TEXT NOT NULL,
    until   INTEGER NOT NULL,
    replay  TEXT NOT NULL, -- '': of none
    PRIMARY KEY (handler, key)
) WITHOUT ROWID, STRICT;

-- Keys of which something was discarded, until their views are rebuilt.
CREATE TABLE diverged (
    handler TEXT NOT NULL,
    key     TEXT NOT NULL,
    since   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    fail    TEXT NOT NULL, -- the first that was discarded
    PRIMARY KEY (handler, key)
) WITHOUT ROWID, STRICT;

-- What operators want of handlers. Each change adds to the version, which processes look at.
CREATE TABLE control (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, demo INTEGER NOT NULL) STRICT;
INSERT INTO control (id, version, demo) VALUES (1, 1, 0);

CREATE TABLE handler_control (
    handler   TEXT PRIMARY KEY,
    paused    INTEGER NOT NULL,
    why       TEXT NOT NULL,
    paused_by TEXT NOT NULL, -- an act, or 'cap'
    paused_at INTEGER NOT NULL,
    resumed   INTEGER NOT NULL -- how often
) WITHOUT ROWID, STRICT;

CREATE TABLE policy (
    handler TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL -- a JSON object, or '': the default
) WITHOUT ROWID, STRICT;

-- What processes say of the handlers that they run.
CREATE TABLE handler_run (
    handler   TEXT NOT NULL,
    process   TEXT NOT NULL,
    topic     TEXT NOT NULL,
    state     TEXT NOT NULL,
    lag       INTEGER NOT NULL,
    rate      REAL NOT NULL, -- messages a second
    error     TEXT NOT NULL,
    failed_at INTEGER NOT NULL, -- 0: never
    at        INTEGER NOT NULL,
    controls  INTEGER NOT NULL, -- the version that is in force there
    PRIMARY KEY (handler, process)
) WITHOUT ROWID, STRICT;

-- What became of operators' acts. They themselves stand in the log.
CREATE TABLE act (
    id       TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    handler  TEXT NOT NULL,
    key      TEXT NOT NULL,
    target   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    actor    TEXT NOT NULL,
    status   TEXT NOT NULL CHECK (status IN ('pending', 'done', 'refused', 'failed')),
    code     TEXT NOT NULL,
    detail   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    ended_at INTEGER NOT NULL -- 0: pending
) WITHOUT ROWID, STRICT;
CREATE INDEX act_at ON act (at, id);
CREATE INDEX act_target ON act (target, at, id) WHERE target <> '';
CREATE INDEX act_key ON act (handler, key, at, id);

-- Many sequences tried again.
CREATE TABLE replay (
    id         TEXT PRIMARY KEY,
    spec       TEXT NOT NULL, -- a JSON object
    status     TEXT NOT NULL CHECK (status IN ('planned', 'running', 'done', 'cancelled', 'stopped')),
    keys       INTEGER NOT NULL,
    messages   INTEGER NOT NULL,
    accounts   INTEGER NOT NULL,
    oldest     INTEGER NOT NULL, -- 0: nothing
    planned_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL, -- 0: not yet
    ended_at   INTEGER NOT NULL, -- 0: not yet
    next_at    INTEGER NOT NULL  -- when the next message may be tried, by its rate
) WITHOUT ROWID, STRICT;
CREATE INDEX replay_planned ON replay (planned_at, id);
CREATE INDEX replay_running ON replay (status) WHERE status = 'running';

CREATE TABLE replay_sequence (
    replay  TEXT NOT NULL REFERENCES replay (id),
    handler TEXT NOT NULL,
    key     TEXT NOT NULL,
    waiting INTEGER NOT NULL, -- messages at the start; of one that failed, what is left
    state   TEXT NOT NULL CHECK (state IN ('todo', 'done', 'failed')),
    PRIMARY KEY (replay, handler, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX replay_sequence_state ON replay_sequence (replay, state, handler, key);

-- +goose Down
DROP TABLE replay_sequence;
DROP TABLE replay;
DROP TABLE act;
DROP TABLE handler_run;
DROP TABLE policy;
DROP TABLE handler_control;
DROP TABLE control;
DROP TABLE diverged;
DROP TABLE parked_claim;
DROP TABLE parked_group;
DROP TABLE parked_account;
DROP INDEX sequence_since;
DROP INDEX sequence_of;
DROP INDEX sequence_due;
DROP INDEX sequence_group;
ALTER TABLE parked_sequence DROP COLUMN id;
ALTER TABLE parked_sequence DROP COLUMN head;
ALTER TABLE parked_sequence DROP COLUMN paused;
ALTER TABLE parked_sequence DROP COLUMN tries;
ALTER TABLE parked_sequence DROP COLUMN due_at;
ALTER TABLE parked_sequence DROP COLUMN cause;
ALTER TABLE parked_sequence DROP COLUMN alone;
ALTER TABLE parked_sequence DROP COLUMN rebuild;
ALTER TABLE parked_sequence DROP COLUMN class;
ALTER TABLE parked_sequence DROP COLUMN fingerprint;
ALTER TABLE parked_sequence DROP COLUMN failed_at;
CREATE TABLE parked_message_old (
    id INTEGER PRIMARY KEY, handler TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, key TEXT NOT NULL,
    incarnation TEXT NOT NULL, position INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('parked', 'blocked', 'resolved', 'discarded')),
    parked_at INTEGER NOT NULL, ended_at INTEGER, metadata TEXT NOT NULL, payload BLOB NOT NULL,
    UNIQUE (handler, incarnation, position)
) STRICT;
INSERT INTO parked_message_old SELECT id, handler, topic, partition, key, incarnation, position,
    CASE status WHEN 'scheduled' THEN 'parked' ELSE status END, parked_at, ended_at, metadata, payload FROM parked_message;
CREATE TABLE parked_attempt_old (
    message INTEGER NOT NULL REFERENCES parked_message_old (id), n INTEGER NOT NULL, at INTEGER NOT NULL,
    took INTEGER NOT NULL, class TEXT NOT NULL, error TEXT NOT NULL, stack TEXT NOT NULL, PRIMARY KEY (message, n)
) WITHOUT ROWID, STRICT;
INSERT INTO parked_attempt_old SELECT message, n, at, took, class, error, stack FROM parked_attempt;
DROP TABLE parked_attempt;
DROP TABLE parked_message;
ALTER TABLE parked_message_old RENAME TO parked_message;
ALTER TABLE parked_attempt_old RENAME TO parked_attempt;
CREATE INDEX parked_waiting ON parked_message (handler, key, id) WHERE ended_at IS NULL;
