-- +goose Up
-- Customers. What is personal is sealed; e-mail, phone and external id are HMACs, NULL where there is none.
CREATE TABLE customer (
    id          text   COLLATE "C" PRIMARY KEY,
    version     bigint NOT NULL,
    created_at  bigint NOT NULL, -- microseconds since 1970
    updated_at  bigint NOT NULL,
    key         bytea  NOT NULL, -- the customer's own key, wrapped by the master key
    sealed      bytea  NOT NULL,
    external_id bytea  UNIQUE,
    email       bytea,
    phone       bytea
);
CREATE INDEX customer_by_time  ON customer (created_at, id);
CREATE INDEX customer_by_email ON customer (email, created_at, id) WHERE email IS NOT NULL;
CREATE INDEX customer_by_phone ON customer (phone, created_at, id) WHERE phone IS NOT NULL;

-- What is remembered of commands on customers, for a day: no personal data.
CREATE TABLE customer_command (
    key            bytea  PRIMARY KEY,
    fingerprint    bytea  NOT NULL,
    customer       text   COLLATE "C" NOT NULL, -- '' when it was refused
    code           text   NOT NULL, -- of the refusal
    at             bigint NOT NULL,
    correlation_id text   NOT NULL -- of the command: a replay of its refusal names it again
);
CREATE INDEX customer_command_by_time ON customer_command (at);

-- +goose Down
DROP TABLE customer_command;
DROP TABLE customer;
