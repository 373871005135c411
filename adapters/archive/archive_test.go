package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

func manifest(parts map[string]string, order ...string) Manifest {
	m := Manifest{Format: Format, Incarnation: "ONE", Term: 3, Seq: 7, Chain: "0102", Time: time.Unix(1e9, 0).UTC()}
	for _, name := range order {
		m.Parts = append(m.Parts, Part{name, int64(len(parts[name]))})
	}
	return m
}

func filler(parts map[string]string) func(string, io.Writer) error {
	return func(name string, w io.Writer) error {
		_, err := io.WriteString(w, parts[name])
		return err
	}
}

// got is what a reader was given.
type got struct {
	manifest Manifest
	parts    map[string]string
}

func (g *got) begin(m Manifest) error {
	g.manifest, g.parts = m, map[string]string{}
	return nil
}

func (g *got) take(p Part, r io.Reader) error {
	b, err := io.ReadAll(r)
	g.parts[p.Name] = string(b)
	return err
}

func pack(t *testing.T) []byte {
	t.Helper()
	parts := map[string]string{"a.db": strings.Repeat("page", 5000), "b.key": "secret", "none": ""}
	var out bytes.Buffer
	if err := Write(&out, manifest(parts, "a.db", "none", "b.key"), filler(parts)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9_-][a-z0-9._-]{0,20}[a-z]`), 1, 6,
			rapid.ID[string]).Draw(t, "names")
		parts := map[string]string{}
		for _, name := range names {
			parts[name] = string(rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "content"))
		}
		var out bytes.Buffer
		m := manifest(parts, names...)
		if err := Write(&out, m, filler(parts)); err != nil {
			t.Fatal(err)
		}
		var g got
		if err := Read(&out, g.begin, g.take); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(g.manifest) != fmt.Sprint(m) || fmt.Sprint(g.parts) != fmt.Sprint(parts) {
			t.Fatalf("read %v %v, wrote %v %v", g.manifest, g.parts, m, parts)
		}
	})
}

// Whatever is cut off, turned over or added: it is noticed. A bit that the compression has no use for may turn over,
// when all that it says stays the same.
func TestRefusesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	whole := pack(t)
	var sound got
	if err := Read(bytes.NewReader(whole), sound.begin, sound.take); err != nil {
		t.Fatal(err)
	}
	harmless := 0
	refused := func(what string, b []byte) {
		t.Helper()
		var g got
		err := Read(bytes.NewReader(b), g.begin, g.take)
		switch {
		case errors.Is(err, ErrDamaged):
		case err == nil && strings.HasPrefix(what, "bit") && reflect.DeepEqual(g, sound):
			harmless++
		default:
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range whole {
		refused(fmt.Sprintf("%d of %d bytes", n, len(whole)), whole[:n])
		for bit := range 8 {
			bent := bytes.Clone(whole)
			bent[n] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, n), bent)
		}
	}
	refused("twice", append(bytes.Clone(whole), whole...))
	refused("text behind it", append(bytes.Clone(whole), "and more"...))
	refused("text", []byte("Dear bank"))
	if most := len(whole) * 8 / 10; harmless > most {
		t.Errorf("%d bits turned over without harm, more than %d: is anything checked?", harmless, most)
	}
}

// entry is one file of a tar that is made by hand.
type entry struct {
	name, text string
	kind       byte
}

func byHand(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := tar.Header{Name: e.name, Size: int64(len(e.text)), Mode: mode, Typeflag: e.kind}
		if e.kind == tar.TypeSymlink {
			h.Size, h.Linkname = 0, "/etc/passwd"
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRefusesWhatIsNotOfTheForm(t *testing.T) {
	t.Parallel()
	says := func(text string) entry { return entry{name: manifestName, text: text, kind: tar.TypeReg} }
	lists := func(parts string) entry { return says(`{"format":1,"parts":[` + parts + `]}`) }
	a := entry{name: "a", text: "x", kind: tar.TypeReg}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"nothing":          {nil, "ends before manifest.json"},
		"no manifest":      {[]entry{a}, `has "a" where manifest.json belongs`},
		"no JSON":          {[]entry{says("{")}, "unexpected end"},
		"newer":            {[]entry{says(`{"format":2}`)}, "is of format 2, and this program reads format 1"},
		"no parts":         {[]entry{lists("")}, "0 parts"},
		"a way out":        {[]entry{lists(`{"name":"../a","size":1}`), a}, `"../a" is no name`},
		"hidden":           {[]entry{lists(`{"name":".a","size":1}`), a}, `".a" is no name`},
		"named as sums":    {[]entry{lists(`{"name":"SHA256SUMS","size":1}`), a}, `"SHA256SUMS" is no name`},
		"twice":            {[]entry{lists(`{"name":"a","size":1},{"name":"a","size":1}`), a, a}, "lists a twice"},
		"below nothing":    {[]entry{lists(`{"name":"a","size":-1}`), a}, "cannot have -1 bytes"},
		"another size":     {[]entry{lists(`{"name":"a","size":2}`), a}, "a has 1 bytes instead of 2"},
		"missing":          {[]entry{lists(`{"name":"a","size":1}`)}, "ends before a"},
		"a link":           {[]entry{lists(`{"name":"a","size":0}`), {"a", "", tar.TypeSymlink}}, `has "a" where a`},
		"no sums":          {[]entry{lists(`{"name":"a","size":1}`), a}, "ends before SHA256SUMS"},
		"wrong sums":       {[]entry{lists(`{"name":"a","size":1}`), a, {sumsName, "x", tar.TypeReg}}, "not those"},
		"a large manifest": {[]entry{says(strings.Repeat(" ", maxSmall+1))}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var g got
			err := read(bytes.NewReader(byHand(t, c.entries...)), g.begin, g.take)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want %q", err, c.want)
			}
		})
	}
}

func TestErrorsOfTheReaderAreItsOwn(t *testing.T) {
	t.Parallel()
	full := errors.New("no space")
	var g got
	refuse := func(Manifest) error { return full }
	if err := Read(bytes.NewReader(pack(t)), refuse, g.take); !errors.Is(err, full) || errors.Is(err, ErrDamaged) {
		t.Errorf("begin: %v", err)
	}
	if err := Read(bytes.NewReader(pack(t)), g.begin, func(Part, io.Reader) error { return full }); !errors.Is(err, full) {
		t.Errorf("take: %v", err)
	}
	lazy := func(Part, io.Reader) error { return nil }
	if err := Read(bytes.NewReader(pack(t)), g.begin, lazy); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a part that was not read: %v", err)
	}
}

func TestWriteWantsWhatWasSaid(t *testing.T) {
	t.Parallel()
	parts := map[string]string{"a": "four"}
	for name, m := range map[string]Manifest{
		"less": {Parts: []Part{{"a", 5}}}, "more": {Parts: []Part{{"a", 3}}}, "none": {},
		"path": {Parts: []Part{{"a/b", 0}}}, "twice": {Parts: []Part{{"a", 4}, {"a", 4}}},
	} {
		if err := Write(io.Discard, m, filler(parts)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	boom := errors.New("boom")
	err := Write(io.Discard, manifest(parts, "a"), func(string, io.Writer) error { return boom })
	if !errors.Is(err, boom) {
		t.Error(err)
	}
}

// FuzzRead makes sure that no file does harm, and that what is taken can be written again.
func FuzzRead(f *testing.F) {
	parts := map[string]string{"a.db": "pages", "b": ""}
	var plain bytes.Buffer
	if err := write(&plain, manifest(parts, "a.db", "b"), filler(parts)); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes(), true)
	packed, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed.EncodeAll(plain.Bytes(), nil), false)
	f.Fuzz(func(t *testing.T, b []byte, bare bool) {
		var g got
		from := Read
		if bare {
			from = read
		}
		if err := from(bytes.NewReader(b), g.begin, g.take); err != nil {
			return
		}
		if err := Write(io.Discard, g.manifest, filler(g.parts)); err != nil {
			t.Fatalf("it was read, and cannot be written: %v", err)
		}
	})
}
