-- +goose Up
-- What this schema belongs to: names and values, as 'incarnation'.
CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);

-- +goose Down
DROP TABLE about;
