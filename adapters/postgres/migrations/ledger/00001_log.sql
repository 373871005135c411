-- +goose Up
-- What this schema belongs to: names and values.
CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);

-- The row that guards a ledger: an append moves it, and whoever finds it elsewhere than expected is fenced. It is written
-- with every append, so there is room on its page for what is not yet cleared away.
CREATE TABLE ledger_head (
    ledger      text        PRIMARY KEY,
    incarnation text        NOT NULL,
    term        bigint      NOT NULL,
    batch       bigint      NOT NULL,
    seq         bigint      NOT NULL,
    chain       bytea       NOT NULL,
    owner       text        NOT NULL,
    outcomes    bigint      NOT NULL, -- how many there are
    address     text        NOT NULL, -- where other processes reach the owner
    lease       text        NOT NULL, -- which acquisition the lease is of
    lease_until timestamptz NOT NULL  -- by the clock of the database
) WITH (fillfactor = 10);

-- One row an event, in app/codec's form.
CREATE TABLE event (
    seq   bigint PRIMARY KEY,
    data  bytea  NOT NULL,
    chain bytea  NOT NULL
);

-- Which event made which version. A subject is an id in short: see touches.go.
CREATE TABLE touch (
    subject uuid   NOT NULL,
    version bigint NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (subject, version)
);

-- What became of each command that had a key. Ids are dense, in the order of appending, which is where rows stand, too: so
-- a note of which pages have which is enough to find them.
CREATE TABLE outcome (
    id          bigint NOT NULL,
    key         bytea  PRIMARY KEY,
    fingerprint bytea  NOT NULL,
    seq         bigint NOT NULL,
    events      int    NOT NULL,
    code        text   NOT NULL,
    reply       bytea,
    subject     text   NOT NULL,
    command     text   NOT NULL,
    at          bigint NOT NULL
);

CREATE INDEX outcome_id ON outcome USING brin (id) WITH (pages_per_range = 16, autosummarize = on);

-- One append: all of it, or nothing. place is where the head's row stands, if the caller knows, and the result is where it
-- stands now. While somebody keeps an old snapshot, as a dump of the database does, the server keeps all versions of the row
-- since, and whoever looks for it by its key walks over them.
-- +goose StatementBegin
CREATE FUNCTION append_batch(
    of_ledger text, my_term bigint, number bigint, after_seq bigint, last_seq bigint, last_chain bytea,
    event_data bytea[], event_chain bytea[],
    touch_subject uuid[], touch_version bigint[], touch_seq bigint[],
    outcome_key bytea[], outcome_fingerprint bytea[], outcome_seq bigint[], outcome_events int[], outcome_code text[],
    outcome_reply bytea[], outcome_subject text[], outcome_command text[], outcome_at bigint[], INOUT place tid
) LANGUAGE plpgsql AS $$
DECLARE
    decided bigint;
BEGIN
    UPDATE ledger_head SET batch = number, seq = last_seq, chain = coalesce(last_chain, chain),
        outcomes = outcomes + cardinality(outcome_key)
        WHERE ctid = place AND ledger = of_ledger AND term = my_term AND batch = number - 1 AND seq = after_seq
        RETURNING outcomes - cardinality(outcome_key), ctid INTO decided, place;
    IF NOT FOUND THEN
        UPDATE ledger_head SET batch = number, seq = last_seq, chain = coalesce(last_chain, chain),
            outcomes = outcomes + cardinality(outcome_key)
            WHERE ledger = of_ledger AND term = my_term AND batch = number - 1 AND seq = after_seq
            RETURNING outcomes - cardinality(outcome_key), ctid INTO decided, place;
    END IF;
    IF decided IS NULL THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = 'BF001';
    END IF;
    INSERT INTO event (seq, data, chain)
        SELECT after_seq + n, data, chain FROM unnest(event_data, event_chain) WITH ORDINALITY AS e (data, chain, n);
    INSERT INTO touch (subject, version, seq)
        SELECT * FROM unnest(touch_subject, touch_version, touch_seq);
    INSERT INTO outcome (id, key, fingerprint, seq, events, code, reply, subject, command, at)
        SELECT decided + n, key, fingerprint, seq, events, code, reply, subject, command, at
        FROM unnest(outcome_key, outcome_fingerprint, outcome_seq, outcome_events, outcome_code, outcome_reply,
            outcome_subject, outcome_command, outcome_at)
        WITH ORDINALITY AS o (key, fingerprint, seq, events, code, reply, subject, command, at, n);
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION append_batch;
DROP TABLE outcome;
DROP TABLE touch;
DROP TABLE event;
DROP TABLE ledger_head;
DROP TABLE about;
