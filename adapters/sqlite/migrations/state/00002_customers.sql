-- +goose Up
-- Customers. What is personal is sealed; e-mail, phone and external id are HMACs, NULL where there is none.
CREATE TABLE customer (
    id          TEXT PRIMARY KEY,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL, -- microseconds since 1970
    updated_at  INTEGER NOT NULL,
    key         BLOB NOT NULL,    -- the customer's own key, wrapped by the master key
    sealed      BLOB NOT NULL,
    external_id BLOB UNIQUE,
    email       BLOB,
    phone       BLOB
) WITHOUT ROWID, STRICT;
CREATE INDEX customer_by_time ON customer (created_at, id);
CREATE INDEX customer_by_email ON customer (email) WHERE email IS NOT NULL;
CREATE INDEX customer_by_phone ON customer (phone) WHERE phone IS NOT NULL;

-- What is remembered of commands on customers, for a day: no personal data.
CREATE TABLE customer_command (
    key         BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    customer    TEXT NOT NULL, -- '' when it was refused
    code        TEXT NOT NULL, -- of the refusal
    at          INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX customer_command_by_time ON customer_command (at);

-- +goose Down
DROP TABLE customer_command;
DROP TABLE customer;
