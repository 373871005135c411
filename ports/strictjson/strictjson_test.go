package strictjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, pointer := range map[string]string{
		``:                              "",
		` `:                             "",
		`{`:                             "",
		`{"a"}`:                         "",
		`{"a":}`:                        "/a",
		`{"a":1,}`:                      "",
		`{"a":1 "b":2}`:                 "",
		`{a:1}`:                         "",
		`[1,]`:                          "/1",
		`[1 2]`:                         "",
		`{"a":1,"a":2}`:                 "/a",
		`{"a":1,"\u0061":2}`:            "/a",
		`{"x":[0,{"a/b":1,"a/b":1}]}`:   "/x/1/a~1b",
		`{} {}`:                         "",
		`nul`:                           "",
		`truth`:                         "",
		`01`:                            "",
		`-`:                             "",
		`1.`:                            "",
		`.5`:                            "",
		`1e`:                            "",
		`+1`:                            "",
		`NaN`:                           "",
		`'a'`:                           "",
		`"a`:                            "",
		"\"a\nb\"":                      "",
		`"\x"`:                          "",
		`"\u12"`:                        "",
		`"\u12g4"`:                      "",
		`"\ud800"`:                      "",
		`"\ud800\u0041"`:                "",
		`"\udc00\ud800"`:                "",
		`"\`:                            "",
		"\"\xff\"":                      "",
		"\xef\xbb\xbf{}":                "",
		strings.Repeat("[", MaxDepth+1): strings.Repeat("/0", MaxDepth),
	} {
		_, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%q was read", text)
		} else if err.Pointer != pointer {
			t.Errorf("%q: pointer %q, want %q (%v)", text, err.Pointer, pointer, err)
		}
	}
}

func TestManyNamesTwice(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{`)
	for i := range 1000 {
		b.WriteString(`"n` + strings.Repeat("x", i) + `":0,`)
	}
	b.WriteString(`"nxxx":1}`)
	if _, err := Parse([]byte(b.String())); err == nil || err.Pointer != "/nxxx" {
		t.Errorf("got %v", err)
	}
}

func TestCanonicalIgnoresOrderAndSpace(t *testing.T) {
	t.Parallel()
	same := []string{
		`{"a":1,"b":{"x":null,"y":[true,"s"]}}`,
		" {\n\"b\" : {\"y\":[ true , \"\\u0073\" ],\"x\":null}, \"a\":1 }\t",
	}
	if !bytes.Equal(canonical(t, same[0]), canonical(t, same[1])) {
		t.Error("the same content has two forms")
	}
	other := []string{
		`{}`, `[]`, `null`, `""`, `{"a":""}`, `{"a":null}`, `["a",""]`, `[["a"],""]`, `["a"]`, `{"a":{"b":1}}`, `{"a":"1"}`,
		`{"a":1}`, `{"a":true}`, `{"a":"true"}`, `[1,2]`, `[2,1]`, `[12]`, `["1","2"]`, `["12"]`,
	}
	seen := map[string]string{}
	for _, o := range other {
		c := string(canonical(t, o))
		if twin, ok := seen[c]; ok {
			t.Errorf("%s and %s have one form", o, twin)
		}
		seen[c] = o
	}
}

func canonical(t *testing.T, text string) []byte {
	t.Helper()
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.AppendCanonical(nil)
}

// plain is the value as encoding/json would have it.
func plain(v *Value) any {
	switch v.Kind {
	case Null:
		return nil
	case Bool:
		return v.Text == "true"
	case Number:
		return json.Number(v.Text)
	case String:
		return v.Text
	case Array:
		out := make([]any, 0, len(v.Members))
		for i := range v.Members {
			out = append(out, plain(&v.Members[i].Value))
		}
		return out
	default:
		out := map[string]any{}
		for i := range v.Members {
			out[v.Members[i].Name] = plain(&v.Members[i].Value)
		}
		return out
	}
}

// FuzzParse holds Parse against encoding/json: what we read, it reads too, and alike.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,false,null,-0.5e+3,"\ud83d\ude00\n\"\\\/"]}`, `{"a":{"a":{}}}`, `"\u0000"`, `[]`,
		` 0 `, `"é"`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			if err.Detail == "" {
				t.Error("no detail")
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var want any
		if e := d.Decode(&want); e != nil {
			t.Fatalf("%q: encoding/json says %v", text, e)
		}
		if got := plain(&v); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", text, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte(`{"from_account_id":"acc_0123456789abcdefghijklmnop",` +
		`"to_account_id":"acc_0123456789abcdefghijklmnox",` +
		`"amount":{"amount":"1234","currency":"EUR"},"reference":"invoice 7"}`)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		v, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		buf = v.AppendCanonical(buf[:0])
	}
}
