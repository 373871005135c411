-- +goose Up
-- What operators see and want of the reactions. Messages get what they are looked for by; times are microseconds since 1970.
-- What was parked before these columns were has an empty group, and a name of its own.
ALTER TABLE parked_message ADD COLUMN fail text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN ended_by text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN type text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN correlation text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN accounts text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN class text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN error text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN fingerprint text NOT NULL DEFAULT '';
ALTER TABLE parked_message ADD COLUMN attempts bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_message DROP CONSTRAINT parked_message_status_check;
ALTER TABLE parked_message ADD CONSTRAINT parked_message_status_check
    CHECK (status IN ('parked', 'blocked', 'scheduled', 'resolved', 'discarded'));
ALTER TABLE parked_attempt ADD COLUMN tried_by text NOT NULL DEFAULT 'stream';
UPDATE parked_message m SET fail = 'fail_' || lpad(id::text, 26, '0'),
    type = coalesce(metadata::json ->> 'ce_type', ''), correlation = coalesce(metadata::json ->> 'correlation_id', ''),
    class = coalesce((SELECT a.class FROM parked_attempt a WHERE a.message = m.id ORDER BY n DESC LIMIT 1), ''),
    error = coalesce((SELECT a.error FROM parked_attempt a WHERE a.message = m.id ORDER BY n DESC LIMIT 1), ''),
    attempts = (SELECT count(*) FROM parked_attempt a WHERE a.message = m.id);
CREATE UNIQUE INDEX parked_name ON parked_message (fail);
DROP INDEX parked_waiting;

CREATE INDEX parked_in_order    ON parked_message (handler, key, id);
CREATE INDEX parked_time        ON parked_message (parked_at, fail);
CREATE INDEX parked_handler     ON parked_message (handler, parked_at, fail);
CREATE INDEX parked_status      ON parked_message (status, parked_at, fail);
CREATE INDEX parked_class       ON parked_message (class, parked_at, fail) WHERE class <> '';
CREATE INDEX parked_fingerprint ON parked_message (fingerprint, parked_at, fail) WHERE fingerprint <> '';
CREATE INDEX parked_correlation ON parked_message (correlation, parked_at, fail) WHERE correlation <> '';
CREATE INDEX parked_ended_by    ON parked_message (ended_by) WHERE ended_by <> '';

-- head: the message that waits first; 0: none does, as of a key that is paused. due_at: when it is tried next; 0: by hand.
ALTER TABLE parked_sequence ADD COLUMN id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN head bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN paused bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN tries bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN due_at bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN cause text NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN alone bigint NOT NULL DEFAULT 0;
ALTER TABLE parked_sequence ADD COLUMN rebuild text NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN class text NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN fingerprint text NOT NULL DEFAULT '';
ALTER TABLE parked_sequence ADD COLUMN failed_at bigint NOT NULL DEFAULT 0;
CREATE INDEX sequence_since ON parked_sequence (since, id);
CREATE INDEX sequence_of    ON parked_sequence (handler, since, id);
CREATE INDEX sequence_due   ON parked_sequence (due_at) WHERE due_at > 0;
CREATE INDEX sequence_group ON parked_sequence (fingerprint, handler, waiting, since, failed_at) WHERE fingerprint <> '';

UPDATE parked_sequence s SET id = 'seq_' || md5(handler || encode(key, 'hex')),
    head = coalesce((SELECT min(m.id) FROM parked_message m
        WHERE m.handler = s.handler AND m.key = s.key AND m.ended_at IS NULL), 0);

-- The accounts that a message touches. fingerprint is its group while it is one of the failures in it, or else ''.
CREATE TABLE parked_account (
    account     text NOT NULL,
    parked_at   bigint NOT NULL,
    fail        text COLLATE "C" NOT NULL,
    message     bigint NOT NULL,
    fingerprint text NOT NULL,
    PRIMARY KEY (account, parked_at, fail)
);
CREATE INDEX parked_account_message ON parked_account (message);
CREATE INDEX parked_account_group ON parked_account (fingerprint, account) WHERE fingerprint <> '';

-- What failures have in common that have one fingerprint.
CREATE TABLE parked_group (
    fingerprint text COLLATE "C" PRIMARY KEY,
    handler     text NOT NULL,
    class       text NOT NULL,
    error       text NOT NULL -- of the first one
);

-- Who works on a sequence now, until when. It stands by itself: handlers lock the rows of sequences.
CREATE TABLE parked_claim (
    handler text NOT NULL,
    key     bytea NOT NULL,
    owner   text NOT NULL,
    until   bigint NOT NULL,
    replay  text NOT NULL, -- '': of none
    PRIMARY KEY (handler, key)
);

-- Keys of which something was discarded, until their views are rebuilt.
CREATE TABLE diverged (
    handler text NOT NULL,
    key     bytea NOT NULL,
    since   bigint NOT NULL,
    reason  text NOT NULL,
    fail    text NOT NULL, -- the first that was discarded
    PRIMARY KEY (handler, key)
);

-- What operators want of handlers. Each change adds to the version, which processes look at.
CREATE TABLE control (id bigint PRIMARY KEY CHECK (id = 1), version bigint NOT NULL, demo bigint NOT NULL);
INSERT INTO control (id, version, demo) VALUES (1, 1, 0);

CREATE TABLE handler_control (
    handler   text PRIMARY KEY,
    paused    bigint NOT NULL,
    why       text NOT NULL,
    paused_by text NOT NULL, -- an act, or 'cap'
    paused_at bigint NOT NULL,
    resumed   bigint NOT NULL -- how often
);

CREATE TABLE policy (
    handler text PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL -- a JSON object, or '': the default
);

-- What processes say of the handlers that they run.
CREATE TABLE handler_run (
    handler   text NOT NULL,
    process   text NOT NULL,
    topic     text NOT NULL,
    state     text NOT NULL,
    lag       bigint NOT NULL,
    rate      double precision NOT NULL, -- messages a second
    error     text NOT NULL,
    failed_at bigint NOT NULL, -- 0: never
    at        bigint NOT NULL,
    controls  bigint NOT NULL, -- the version that is in force there
    PRIMARY KEY (handler, process)
);

-- What became of operators' acts. They themselves stand in the log.
CREATE TABLE act (
    id       text COLLATE "C" PRIMARY KEY,
    seq      bigint NOT NULL,
    kind     text NOT NULL,
    handler  text NOT NULL,
    key      bytea NOT NULL,
    target   text NOT NULL,
    reason   text NOT NULL,
    actor    text NOT NULL,
    status   text NOT NULL CHECK (status IN ('pending', 'done', 'refused', 'failed')),
    code     text NOT NULL,
    detail   text NOT NULL,
    at       bigint NOT NULL,
    ended_at bigint NOT NULL -- 0: pending
);
CREATE INDEX act_at ON act (at, id);
CREATE INDEX act_target ON act (target, at, id) WHERE target <> '';
CREATE INDEX act_key ON act (handler, key, at, id);

-- Many sequences tried again.
CREATE TABLE replay (
    id         text COLLATE "C" PRIMARY KEY,
    spec       text NOT NULL, -- a JSON object
    status     text NOT NULL CHECK (status IN ('planned', 'running', 'done', 'cancelled', 'stopped')),
    keys       bigint NOT NULL,
    messages   bigint NOT NULL,
    accounts   bigint NOT NULL,
    oldest     bigint NOT NULL, -- 0: nothing
    planned_at bigint NOT NULL,
    started_at bigint NOT NULL, -- 0: not yet
    ended_at   bigint NOT NULL, -- 0: not yet
    next_at    bigint NOT NULL  -- when the next message may be tried, by its rate
);
CREATE INDEX replay_planned ON replay (planned_at, id);
CREATE INDEX replay_running ON replay (status) WHERE status = 'running';

CREATE TABLE replay_sequence (
    replay  text NOT NULL REFERENCES replay (id),
    handler text NOT NULL,
    key     bytea NOT NULL,
    waiting bigint NOT NULL, -- messages at the start; of one that failed, what is left
    state   text NOT NULL CHECK (state IN ('todo', 'done', 'failed')),
    PRIMARY KEY (replay, handler, key)
);
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
DROP INDEX parked_name;
DROP INDEX parked_in_order;
DROP INDEX parked_time;
DROP INDEX parked_handler;
DROP INDEX parked_status;
DROP INDEX parked_class;
DROP INDEX parked_fingerprint;
DROP INDEX parked_correlation;
DROP INDEX parked_ended_by;
ALTER TABLE parked_message DROP COLUMN fail;
ALTER TABLE parked_message DROP COLUMN ended_by;
ALTER TABLE parked_message DROP COLUMN type;
ALTER TABLE parked_message DROP COLUMN correlation;
ALTER TABLE parked_message DROP COLUMN accounts;
ALTER TABLE parked_message DROP COLUMN class;
ALTER TABLE parked_message DROP COLUMN error;
ALTER TABLE parked_message DROP COLUMN fingerprint;
ALTER TABLE parked_message DROP COLUMN attempts;
ALTER TABLE parked_message DROP CONSTRAINT parked_message_status_check;
UPDATE parked_message SET status = 'parked' WHERE status = 'scheduled';
ALTER TABLE parked_message ADD CONSTRAINT parked_message_status_check
    CHECK (status IN ('parked', 'blocked', 'resolved', 'discarded'));
ALTER TABLE parked_attempt DROP COLUMN tried_by;
CREATE INDEX parked_waiting ON parked_message (handler, key, id) WHERE ended_at IS NULL;
