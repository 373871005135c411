package apptest

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// look locks for reading; the caller unlocks unless there is an error.
func (l *MemoryLog) look(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f := l.fault(); f.Read != nil {
		if err := f.Read(); err != nil {
			return err
		}
	}
	l.mu.RLock()
	return nil
}

// Read implements app.Log.
func (l *MemoryLog) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	if after >= bank.Seq(len(l.rows)) {
		return nil, nil
	}
	var out []app.Row
	for _, r := range l.rows[after:][:min(max(limit, 0), len(l.rows)-int(after))] {
		out = append(out, copyOf(r))
	}
	return out, nil
}

func copyOf(r app.Row) app.Row {
	r.Data = bytes.Clone(r.Data)
	return r
}

// Head implements app.Log.
func (l *MemoryLog) Head(ctx context.Context) (app.Head, error) {
	if err := l.look(ctx); err != nil {
		return app.Head{}, err
	}
	defer l.mu.RUnlock()
	return l.head, nil
}

// Outcomes implements app.Lookup.
func (l *MemoryLog) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	out := map[app.Key]app.Outcome{}
	for _, k := range keys {
		if o, ok := l.outcomes[k]; ok {
			o.Reply = bytes.Clone(o.Reply)
			out[k] = o
		}
	}
	return out, nil
}

// Latest implements app.Lookup.
func (l *MemoryLog) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	out := map[string]app.Row{}
	for _, s := range subjects {
		rows, err := l.VersionsBefore(ctx, s, ^bank.Version(0), 1)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			out[s] = rows[0]
		}
	}
	return out, nil
}

// Versions implements app.Lookup.
func (l *MemoryLog) Versions(
	ctx context.Context, subject string, after bank.Version, limit int,
) ([]app.Row, error) {
	return l.versions(ctx, subject, func(all []bank.Version) []bank.Version {
		all = slices.DeleteFunc(all, func(v bank.Version) bool { return v <= after })
		return all[:min(len(all), max(limit, 0))]
	})
}

// VersionsBefore implements app.Lookup.
func (l *MemoryLog) VersionsBefore(
	ctx context.Context, subject string, before bank.Version, limit int,
) ([]app.Row, error) {
	return l.versions(ctx, subject, func(all []bank.Version) []bank.Version {
		all = slices.DeleteFunc(all, func(v bank.Version) bool { return v >= before })
		slices.Reverse(all)
		return all[:min(len(all), max(limit, 0))]
	})
}

// versions returns the rows of those versions that choose leaves of all, which are ascending.
func (l *MemoryLog) versions(
	ctx context.Context, subject string, choose func(all []bank.Version) []bank.Version,
) ([]app.Row, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	defer l.mu.RUnlock()
	var out []app.Row
	for _, v := range choose(slices.Sorted(maps.Keys(l.touches[subject]))) {
		out = append(out, copyOf(l.rows[l.touches[subject][v]-1]))
	}
	return out, nil
}

// IndexedAs implements app.VerifiedLog.
func (*MemoryLog) IndexedAs(subject string) string { return subject }

// Touches implements app.VerifiedLog.
func (l *MemoryLog) Touches(ctx context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	if err := l.look(ctx); err != nil {
		return err
	}
	var all []app.Touch
	seqs := map[app.Touch]bank.Seq{}
	for subject, versions := range l.touches {
		for v, seq := range versions {
			if t := (app.Touch{Subject: subject, Version: v}); seq <= until {
				all = append(all, t)
				seqs[t] = seq
			}
		}
	}
	l.mu.RUnlock()
	for _, t := range all {
		if err := each(t, seqs[t]); err != nil {
			return err
		}
	}
	return nil
}

// Decided implements app.VerifiedLog.
func (l *MemoryLog) Decided(ctx context.Context, after int64, limit int) (page []app.Outcome, last int64, err error) {
	if err := l.look(ctx); err != nil {
		return nil, after, err
	}
	defer l.mu.RUnlock()
	from := max(after, 0)
	for _, k := range l.decided[from:][:min(max(limit, 0), len(l.decided)-int(from))] {
		o := l.outcomes[k]
		o.Reply = bytes.Clone(o.Reply)
		page = append(page, o)
	}
	return page, from + int64(len(page)), nil
}
