-- +goose Up
-- How far each handler that writes to this schema has come. position: seq·4096 + n.
CREATE TABLE checkpoint (
    handler     text   NOT NULL,
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    incarnation text   NOT NULL,
    position    bigint NOT NULL,
    PRIMARY KEY (handler, topic, partition)
) WITH (fillfactor = 10);

-- The keys that do not flow: the first message that waits there has failed. Keys are bytes, for a broker may carry any.
CREATE TABLE parked_sequence (
    handler text   NOT NULL,
    key     bytea  NOT NULL,
    waiting bigint NOT NULL, -- messages
    since   bigint NOT NULL, -- microseconds since 1970
    PRIMARY KEY (handler, key)
);

-- What was ever parked, in the form that brokers carry. Ids ascend in the order of parking.
CREATE TABLE parked_message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handler     text   NOT NULL,
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    key         bytea  NOT NULL,
    incarnation text   NOT NULL,
    position    bigint NOT NULL,
    status      text   NOT NULL CHECK (status IN ('parked', 'blocked', 'resolved', 'discarded')),
    parked_at   bigint NOT NULL,
    ended_at    bigint, -- when it was resolved or discarded
    metadata    text   NOT NULL, -- headers, a JSON object
    payload     bytea  NOT NULL,
    UNIQUE (handler, incarnation, position)
);

CREATE INDEX parked_waiting ON parked_message (handler, key, id) WHERE ended_at IS NULL;

-- Every failed try of a parked message.
CREATE TABLE parked_attempt (
    message bigint NOT NULL REFERENCES parked_message (id),
    n       int    NOT NULL, -- from 1
    at      bigint NOT NULL,
    took    bigint NOT NULL, -- nanoseconds
    class   text   NOT NULL,
    error   text   NOT NULL,
    stack   text   NOT NULL,
    PRIMARY KEY (message, n)
);

-- +goose Down
DROP TABLE parked_attempt;
DROP TABLE parked_message;
DROP TABLE parked_sequence;
DROP TABLE checkpoint;
