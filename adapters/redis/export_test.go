package redis

// ReadTimeout is the time that Open allows a read.
const ReadTimeout = readTimeout

// OpenFor opens with the time after which a read is given up: a busy machine may take longer than Open allows.
var OpenFor = open
