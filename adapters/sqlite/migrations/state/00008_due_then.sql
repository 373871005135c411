-- +goose Up
-- due_then: while a rebuild of the key is wanted, which is due at once, when it is tried if that cannot be; 0: by hand.
ALTER TABLE parked_sequence ADD COLUMN due_then INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE parked_sequence DROP COLUMN due_then;
