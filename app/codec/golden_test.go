package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bankforge/app/bank"
)

// writeGolden adds golden files that are missing. It never changes one: they are kept for ever.
var writeGolden = flag.Bool("write-golden", false, "write golden files that are not there yet")

const goldenFolder = "testdata/golden"

// golden is one event, and a word that tells it from others of its type.
type golden struct {
	event   bank.Event
	meta    Meta
	variant string
}

func (g golden) name() string {
	n := fmt.Sprintf("%s.v%d", Name(g.event.Type), forms[g.event.Type].version)
	if g.variant != "" {
		n += "." + g.variant
	}
	return n
}

// TestGoldenFiles reads and writes each event of this program's form, and finds no files of other names.
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, g := range goldenEvents(t) {
		known[g.name()+".hex"], known[g.name()+".txt"] = true, true
		t.Run(g.name(), func(t *testing.T) {
			t.Parallel()
			data := Encode(nil, &g.event, g.meta)
			stored, err := hex.DecodeString(strings.Join(strings.Fields(file(t, g.name()+".hex", lines(data))), ""))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(stored, data) {
				t.Errorf("it is now written as\n%s", lines(data))
			}
			e, m, err := Decode(stored)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(e, g.event) || m != g.meta {
				t.Errorf("it is now read as\n%s", describe(e, m))
			}
			if told := describe(e, m); file(t, g.name()+".txt", told) != told {
				t.Errorf("it is now read as\n%s", told)
			}
		})
	}
	entries, err := os.ReadDir(goldenFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("%s is not tested: old forms need a test that reads them", e.Name())
		}
	}
}

// file reads a golden file, or makes it from now.
func file(t *testing.T, name, now string) string {
	t.Helper()
	path := filepath.Join(goldenFolder, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *writeGolden {
		if err := os.WriteFile(path, []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		return now
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func lines(data []byte) string {
	var out strings.Builder
	for part := range slices.Chunk(data, 32) {
		fmt.Fprintf(&out, "%x\n", part)
	}
	return out.String()
}

// describe writes what is not zero in an event, one value a line.
func describe(e bank.Event, m Meta) string {
	var out strings.Builder
	tell(&out, Name(e.Type), reflect.ValueOf(e))
	tell(&out, "meta", reflect.ValueOf(m))
	return out.String()
}

func tell(out *strings.Builder, path string, v reflect.Value) {
	if v.IsZero() {
		return
	}
	if s, ok := reflect.TypeAssert[fmt.Stringer](v); ok {
		fmt.Fprintf(out, "%s: %s\n", path, s)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		tell(out, path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			tell(out, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		if text, ok := reflect.TypeAssert[[]byte](v); ok {
			fmt.Fprintf(out, "%s: %q\n", path, text)
			return
		}
		for i := range v.Len() {
			tell(out, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		if m, ok := reflect.TypeAssert[bank.Metadata](v); ok {
			for _, k := range slices.Sorted(maps.Keys(m)) {
				fmt.Fprintf(out, "%s[%q]: %q\n", path, k, m[k])
			}
		}
	case reflect.String:
		fmt.Fprintf(out, "%s: %q\n", path, v.Interface())
	default:
		fmt.Fprintf(out, "%s: %d\n", path, v.Interface())
	}
}

// TestNamesAndNumbersArePermanent: they are in everybody's log. Lines may be added here, never changed.
func TestNamesAndNumbersArePermanent(t *testing.T) {
	t.Parallel()
	want := []form{
		{},
		{1, "account.opened", 1},
		{2, "account.changed", 1},
		{3, "account.frozen", 1},
		{4, "account.unfrozen", 1},
		{5, "account.closed", 1},
		{6, "account.review_set", 1},
		{7, "transaction.made", 1},
		{8, "transfer.pending", 1},
		{9, "transfer.approved", 1},
		{10, "transfer.rejected", 1},
		{11, "hold.placed", 1},
		{12, "hold.voided", 1},
		{13, "hold.expired", 1},
		{14, "operator.acted", 1},
	}
	if !slices.Equal(forms[:], want) {
		t.Errorf("the forms are %v", forms)
	}
	seen := map[bank.EventType]bool{}
	for _, g := range goldenEvents(t) {
		seen[g.event.Type] = true
	}
	for typ := range forms {
		if typ > 0 && !seen[bank.EventType(typ)] {
			t.Errorf("%s has no golden file", forms[typ].name)
		}
	}
	if Name(0) != "" || Name(bank.EventType(len(forms))) != "" {
		t.Error("types that do not exist have names")
	}
}
