package check

import (
	"cmp"
	"slices"
)

// Message is one that a broker has: the version of an account or of a transaction, which is its key.
type Message struct {
	Partition int
	Offset    int64
	Key       string
	Version   uint64
}

// Topic holds all messages of a topic against the versions that the log has by key. Messages come at least once: what
// comes again is right, but no version may come before the one below it, or stand where others of its key do not.
func (l *Log) Topic(name string, messages []Message, versions map[string]uint64) {
	slices.SortFunc(messages, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	last, at := map[string]uint64{}, map[string]int{}
	for _, m := range messages {
		if _, seen := at[m.Key]; !seen {
			at[m.Key] = m.Partition
		}
		switch {
		case at[m.Key] != m.Partition:
			l.found("%s: %s is in partitions %d and %d", name, m.Key, at[m.Key], m.Partition)
		case m.Version > last[m.Key]+1:
			l.found("%s: version %d of %s comes after version %d", name, m.Version, m.Key, last[m.Key])
		}
		last[m.Key] = max(last[m.Key], m.Version)
	}
	for key, version := range last {
		if version > versions[key] {
			l.found("%s: it has version %d of %s, and the log has %d", name, version, key, versions[key])
		}
	}
	for key, version := range versions {
		if last[key] < version {
			l.found("%s: version %d of %s is missing, it ends with %d", name, version, key, last[key])
		}
	}
}

// Versions are the newest ones of all accounts.
func (l *Log) Versions() map[string]uint64 {
	all := map[string]uint64{}
	for id, a := range l.accounts {
		all[id] = a.Version
	}
	return all
}
