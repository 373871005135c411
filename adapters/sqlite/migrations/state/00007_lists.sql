-- +goose Up
-- What is asked for by handler and status is found in one index, whichever of the two is rare; paused keys are few.
DROP INDEX parked_handler;
CREATE INDEX parked_handler  ON parked_message (handler, parked_at, fail, status);
CREATE INDEX sequence_paused ON parked_sequence (since, id) WHERE paused = 1;

-- +goose Down
DROP INDEX sequence_paused;
DROP INDEX parked_handler;
CREATE INDEX parked_handler ON parked_message (handler, parked_at, fail);
