-- +goose Up
-- How far each handler that writes to this file has come. position: seq·4096 + n.
CREATE TABLE checkpoint (
    handler     TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    incarnation TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (handler, topic, partition)
) WITHOUT ROWID, STRICT;

-- The keys that do not flow: the first message that waits there has failed.
CREATE TABLE parked_sequence (
    handler TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    waiting INTEGER NOT NULL, -- messages
    since   INTEGER NOT NULL, -- microseconds since 1970
    PRIMARY KEY (handler, key)
) WITHOUT ROWID, STRICT;

-- What was ever parked, in the form that brokers carry. Ids ascend in the order of parking.
CREATE TABLE parked_message (
    id          INTEGER PRIMARY KEY,
    handler     TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('parked', 'blocked', 'resolved', 'discarded')),
    parked_at   INTEGER NOT NULL,
    ended_at    INTEGER, -- when it was resolved or discarded
    metadata    TEXT    NOT NULL, -- headers, a JSON object
    payload     BLOB    NOT NULL,
    UNIQUE (handler, incarnation, position)
) STRICT;

CREATE INDEX parked_waiting ON parked_message (handler, key, id) WHERE ended_at IS NULL;

-- Every failed try of a parked message.
CREATE TABLE parked_attempt (
    message INTEGER NOT NULL REFERENCES parked_message (id),
    n       INTEGER NOT NULL, -- from 1
    at      INTEGER NOT NULL,
    took    INTEGER NOT NULL, -- nanoseconds
    class   TEXT    NOT NULL,
    error   TEXT    NOT NULL,
    stack   TEXT    NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID, STRICT;

-- +goose Down
DROP TABLE parked_attempt;
DROP TABLE parked_message;
DROP TABLE parked_sequence;
DROP TABLE checkpoint;
