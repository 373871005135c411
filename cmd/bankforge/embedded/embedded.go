package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"bankforge/adapters/snapshots"
	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/ports"
	"bankforge/router"
)

// Bank is one in the files of a directory.
type Bank struct{ Dir string }

// Open opens the bank, and makes what is missing. No other process may have it open.
func (b Bank) Open(ctx context.Context, p stores.Process) (s *stores.Stores, err error) {
	f, err := openFiles(ctx, b.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	key, err := ports.LoadTokenKey(f.signingKey())
	if err != nil {
		return nil, err
	}
	kept, err := f.openLog(ctx, p.Log)
	if err != nil {
		return nil, err
	}
	views, err := sqlite.NewViews(ctx, f.views)
	if err != nil {
		return nil, err
	}
	flushed, err := f.flushed(ctx)
	if err != nil {
		return nil, err
	}
	parked := sqlite.NewHandlerStore(f.views)
	if err := parked.Unclaim(ctx); err != nil {
		return nil, err
	}
	return &stores.Stores{
		Log: kept, Deciding: kept.ForDecider(), Lookup: kept, Following: kept.Following(),
		Snapshots: snapshots.New(f.snapshots(), p.Log),
		Balances:  views, History: views, Progress: p.Progress, Writes: stores.Writes{
			Reactions: router.Reactions{
				Balances: projection.Balances(views), Entries: history.Entries(views), Transactions: history.Transactions(views),
			},
			Stores: router.Stores{Views: parked, Forget: views.Forgets()}, Operations: parked,
		},
		Customers: sqlite.NewCustomers(f.state), MasterKey: f.masterKey, TokenKey: key,
		Classify: []router.Classifier{sqlite.Classify}, Gauges: flushed,
		Names: stores.Names{Where: "--data", Log: bankName, Views: viewsName, Anew: "delete it, and it is built anew"},
		Begin: f.belongs, Ready: kept.Ready, Close: f.Close,
	}, nil
}

// flushed tells how commits are flushed, as SQLite itself says on the connection that writes: sqlite.Open has
// refused files that are not flushed as they must be.
func (f *files) flushed(ctx context.Context) (out []stores.Gauge, err error) {
	for name, db := range map[string]*sqlite.DB{"bank": f.bank, "state": f.state, "views": f.views} {
		n, err := db.Synchronous(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask %s.db how it is flushed: %w", name, err)
		}
		out = append(out, stores.Gauge{
			Name: "bankforge_store_synchronous", Help: "SQLite's synchronous: 2 (FULL) is flushed at each commit.",
			Labels: map[string]string{"file": name}, Value: func() float64 { return float64(n) },
		})
	}
	return out, nil
}

// TokenKey is the key that signs tokens. It is made if there is none yet, so tokens can be made before the first start.
func (b Bank) TokenKey(context.Context) (ports.TokenKey, error) {
	at := paths{b.Dir}
	if err := at.refuseHalfRestored(); err != nil {
		return ports.TokenKey{}, err
	}
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return ports.TokenKey{}, fmt.Errorf("--data: %w", err)
	}
	return ports.LoadTokenKey(at.signingKey())
}

// Migrate opens every file, which brings its tables up to date, and closes it again.
func (b Bank) Migrate(ctx context.Context) (where string, err error) {
	f, err := openFiles(ctx, b.Dir)
	if err != nil {
		return "", err
	}
	return b.Dir, f.Close()
}

// Verify checks the bank, also that of a running process; with what outside says, also views that stand elsewhere.
// noViews: there are none to compare with the log.
func (b Bank) Verify(
	ctx context.Context, outside func(stores.Handlers) ([]app.ViewCheck, error),
) (report app.VerifyReport, noViews bool, err error) {
	at := paths{b.Dir}
	if err := at.refuseHalfRestored(); err != nil {
		return report, false, err
	}
	bankDB, err := openExisting(at.bank(), sqlite.BankFile)
	if err != nil {
		return report, false, err
	}
	defer func() { err = errors.Join(err, bankDB.Close()) }()
	log, err := sqlite.OpenLog(ctx, bankDB, at.index(), slog.New(slog.DiscardHandler))
	if err != nil {
		return report, false, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var checks []app.ViewCheck
	if noViews, err = absent(at.views()); err != nil {
		return report, false, err
	}
	if !noViews {
		viewsDB, err := openExisting(at.views(), sqlite.ViewsFile)
		if err != nil {
			return report, false, err
		}
		defer func() { err = errors.Join(err, viewsDB.Close()) }()
		source := router.FromLog(log)
		if checks, err = outside(stores.Handlers{Source: source, Store: sqlite.NewHandlerStore(viewsDB)}); err != nil {
			return report, noViews, err
		}
		checks = append([]app.ViewCheck{sqlite.NewViewsCheck(viewsDB, source, os.TempDir())}, checks...)
	}
	report, err = app.Verify(ctx, log, checks...)
	return report, noViews, err
}

func openExisting(path string, f sqlite.File) (*sqlite.DB, error) {
	missing, err := absent(path)
	if err != nil {
		return nil, err
	}
	if missing {
		return nil, fmt.Errorf("--data: there is no %s", path)
	}
	return sqlite.OpenReadOnly(path, f)
}

// Rebuild builds views anew beside the old ones, compares, and switches.
func (b Bank) Rebuild(ctx context.Context, view string) (r stores.Rebuilt, err error) {
	names, err := stores.Choose(view, sqlite.ViewNames())
	if err != nil {
		return r, err
	}
	f, source, err := b.offline(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	done, err := sqlite.RebuildViews(ctx, f.views, source, f.dir, names)
	if err != nil {
		return r, err
	}
	return stores.Rebuilt{
		Views: names, Through: done.Through, Parked: done.Parked, Differences: done.Differences, Omitted: done.Omitted,
	}, nil
}

// offline opens the files of a bank that is there, while no process serves it.
func (b Bank) offline(ctx context.Context) (*files, router.Source, error) {
	if _, err := os.Stat(paths{b.Dir}.bank()); err != nil {
		return nil, nil, fmt.Errorf("--data: %w", err)
	}
	f, err := openFiles(ctx, b.Dir)
	if err != nil {
		return nil, nil, err
	}
	log, err := f.openLog(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, router.FromLog(log), nil
}

// WithHandlers gives fn where the handlers stand, while no process serves the bank.
func (b Bank) WithHandlers(ctx context.Context, fn func(ctx context.Context, h stores.Handlers) error) (err error) {
	f, source, err := b.offline(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fn(ctx, stores.Handlers{Source: source, Store: sqlite.NewHandlerStore(f.views)})
}

func absent(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}
