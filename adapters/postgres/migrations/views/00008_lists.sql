-- +goose Up
-- Paused keys are few.
CREATE INDEX sequence_paused ON parked_sequence (since, id) WHERE paused = 1;

-- +goose Down
DROP INDEX sequence_paused;
