package router_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"bankforge/api"
	"bankforge/handlers"
	"bankforge/router"
)

var update = flag.Bool("update", false, "write golden messages that are not there yet")

const goldenDir = "../api/messages"

// golden is a message as its file shows it.
type golden struct {
	Headers map[string]string `json:"headers"`
	Payload json.RawMessage   `json:"payload"`
}

func readGolden(t *testing.T, kind string) *message.Message {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, strings.TrimPrefix(kind, "bankforge.")+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("golden", message.Payload(g.Payload))
	msg.Metadata = g.Headers
	return msg
}

// write makes a golden file. One that is there is never changed: somebody reads such messages.
func write(t *testing.T, kind string, msg *message.Message) {
	t.Helper()
	data, err := json.MarshalIndent(golden{msg.Metadata, json.RawMessage(msg.Payload)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(goldenDir, strings.TrimPrefix(kind, "bankforge.")+".json")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMessagesAreAsTheirGoldenFilesShow(t *testing.T) {
	t.Parallel()
	var kinds []string
	for name, fact := range samples() {
		msg, err := router.Encode(&fact, handlers.Position{Seq: 40, N: 3})
		if err != nil {
			t.Fatal(err)
		}
		kind := msg.Metadata["ce_type"]
		kinds = append(kinds, kind)
		if *update {
			write(t, kind, msg)
		}
		want := readGolden(t, kind)
		var payload bytes.Buffer
		if err := json.Compact(&payload, want.Payload); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(msg.Metadata, want.Metadata) || !bytes.Equal(msg.Payload, payload.Bytes()) {
			t.Errorf("%s is written as\n%v\n%s\nits golden file has\n%v\n%s", name, msg.Metadata, msg.Payload,
				want.Metadata, payload.Bytes())
		}
		got, err := router.Decode(want)
		if err != nil || !reflect.DeepEqual(got, fact) {
			t.Errorf("%s is read as\n%+v, %v\nwant\n%+v", name, got, err, fact)
		}
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, router.Types()) {
		t.Errorf("samples cover\n%v\nthe program writes\n%v", kinds, router.Types())
	}
}

// document is what a test needs to see of the AsyncAPI document.
type document struct {
	Channels map[string]struct {
		Address  string
		Messages map[string]struct {
			Ref string `yaml:"$ref"`
		}
	}
	Components struct {
		Messages map[string]struct {
			Name             string
			Headers, Payload struct {
				Ref string `yaml:"$ref"`
			}
		}
	}
}

func TestTheAsyncAPIDocumentDescribesEveryMessage(t *testing.T) {
	t.Parallel()
	var doc document
	var whole any
	if err := errors.Join(yaml.Unmarshal(api.AsyncAPI, &doc), yaml.Unmarshal(api.AsyncAPI, &whole)); err != nil {
		t.Fatal(err)
	}
	schemas := jsonschema.NewCompiler()
	if err := schemas.AddResource("asyncapi.yaml", whole); err != nil {
		t.Fatal(err)
	}
	check := func(kind, part, ref string, value any) {
		schema, err := schemas.Compile("asyncapi.yaml" + ref)
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s, %s: %v", kind, part, err)
		}
	}
	var kinds []string
	for address, c := range doc.Channels {
		if strings.HasSuffix(c.Address, ".dlt") {
			continue // what was parked is shown there as it came
		}
		for key, m := range c.Messages {
			described, ok := doc.Components.Messages[strings.TrimPrefix(m.Ref, "#/components/messages/")]
			if !ok || described.Name != "bankforge."+key {
				t.Errorf("channel %s: message %s refers to %q, named %q", address, key, m.Ref, described.Name)
			}
			msg := readGolden(t, described.Name)
			fact, err := router.Decode(msg)
			if err != nil || string(fact.Topic()) != c.Address {
				t.Errorf("%s is told on %s, and described on %s: %v", key, fact.Topic(), c.Address, err)
			}
			headers := map[string]any{}
			for k, v := range msg.Metadata {
				headers[k] = v
			}
			payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(msg.Payload))
			if err != nil {
				t.Fatal(err)
			}
			check(key, "headers", described.Headers.Ref, headers)
			check(key, "payload", described.Payload.Ref, payload)
			kinds = append(kinds, described.Name)
		}
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, router.Types()) {
		t.Errorf("described are\n%v\nthe program writes\n%v", kinds, router.Types())
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	msg := readGolden(t, "bankforge.account.credited.v1")
	want, err := router.Decode(msg)
	if err != nil {
		t.Fatal(err)
	}
	msg.Metadata["new"] = "header"
	msg.Payload = append([]byte(`{"new":{"field":[1]},`), msg.Payload[1:]...)
	if got, err := router.Decode(msg); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, %v; want %+v", got, err, want)
	}
}

// replace spoils a payload.
func replace(was, is string) func(*message.Message) {
	return func(m *message.Message) { m.Payload = bytes.Replace(m.Payload, []byte(was), []byte(is), 1) }
}

func TestBrokenMessagesArePoison(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*message.Message){
		"no JSON":          func(m *message.Message) { m.Payload = []byte("{") },
		"empty":            func(m *message.Message) { m.Payload = nil },
		"other JSON":       func(m *message.Message) { m.Payload = []byte("[]") },
		"more behind":      func(m *message.Message) { m.Payload = append(m.Payload, '{', '}') },
		"nothing in it":    func(m *message.Message) { m.Payload = []byte("{}") },
		"not UTF-8":        replace("INV-7", "\xff"),
		"amount as number": replace(`"1250"`, "1250"),
		"amount too large": replace(`"1250"`, `"9223372036854775808"`),
		"other currency":   replace("EUR", "USD"),
		"unknown status":   replace("active", "asleep"),
		"other account":    func(m *message.Message) { m.Metadata["key"] = account(9).String() },
		"other version":    func(m *message.Message) { m.Metadata["account_version"] = "8" },
		"no version":       func(m *message.Message) { delete(m.Metadata, "account_version") },
		"no time":          func(m *message.Message) { delete(m.Metadata, "ce_time") },
		"no type":          func(m *message.Message) { delete(m.Metadata, "ce_type") },
		"unknown type":     func(m *message.Message) { m.Metadata["ce_type"] = "bankforge.account.painted.v1" },
		"newer version":    func(m *message.Message) { m.Metadata["ce_type"] = "bankforge.account.credited.v2" },
		"version 0":        func(m *message.Message) { m.Metadata["ce_type"] = "bankforge.account.credited.v0" },
		"no position":      func(m *message.Message) { delete(m.Metadata, "position") },
		"position 0":       func(m *message.Message) { m.Metadata["position"] = "0.0" },
		"position 1.4096":  func(m *message.Message) { m.Metadata["position"] = "1.4096" },
		"bad prev":         func(m *message.Message) { m.Metadata["prev"] = "x" },
		"no key":           func(m *message.Message) { delete(m.Metadata, "key") },
		"no incarnation":   func(m *message.Message) { delete(m.Metadata, "incarnation") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg := readGolden(t, "bankforge.account.credited.v1")
			spoil(msg)
			fact, err := router.Decode(msg)
			if c, ok := handlers.ClassOf(err); !ok || c != handlers.Poison {
				t.Errorf("read as %+v; the error is %v", fact, err)
			}
		})
	}
}

// What contradicts itself is no act, though an act has no version that could tell so.
func TestBrokenActsArePoison(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*message.Message){
		"nothing in it":  func(m *message.Message) { m.Payload = []byte("{}") },
		"cut off":        func(m *message.Message) { m.Payload = m.Payload[:len(m.Payload)-9] },
		"another kind":   replace("failure.schedule", "failure.retry"),
		"another name":   func(m *message.Message) { m.Metadata["ce_type"] = "bankforge.ops.failure.retry.v1" },
		"no such kind":   func(m *message.Message) { m.Metadata["ce_type"] = "bankforge.ops.failure.repair.v1" },
		"no target":      replace(`"target"`, `"other"`),
		"no id":          replace(`"act_00000000000000000000000004"`, `""`),
		"no reason":      replace(`"reason"`, `"because"`),
		"a body of text": replace(`"body": {`, `"body": "x", "b": {`),
		"a broken body":  replace(`"2026-01-01T09:00:00Z"`, `"\x"`),
		"other handler":  func(m *message.Message) { m.Metadata["key"] = "balances" },
		"key of the act": func(m *message.Message) { m.Metadata["key"] = "act_00000000000000000000000004" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg := readGolden(t, "bankforge.ops.failure.schedule.v1")
			spoil(msg)
			fact, err := router.Decode(msg)
			if c, ok := handlers.ClassOf(err); !ok || c != handlers.Poison {
				t.Errorf("read as %+v; the error is %v", fact, err)
			}
		})
	}
}

// A test-only version 2 of the message calls "amount" what version 1 called "old_amount": old messages are
// lifted while they are read.
func TestOldVersionsAreLifted(t *testing.T) {
	t.Parallel()
	old := readGolden(t, "bankforge.account.credited.v1")
	want, err := router.Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	old.Payload = bytes.ReplaceAll(old.Payload, []byte(`"amount"`), []byte(`"old_amount"`))
	lift := func(payload []byte) ([]byte, error) {
		return bytes.ReplaceAll(payload, []byte(`"old_amount"`), []byte(`"amount"`)), nil
	}
	got, err := router.DecodeWith("account.credited", 2, "account.credited.v1", lift, old)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, %v; want %+v", got, err, want)
	}
	broken := func([]byte) ([]byte, error) { return nil, errBoom }
	for name, up := range map[string]func() (handlers.Fact, error){
		"no way": func() (handlers.Fact, error) { return router.DecodeWith("account.credited", 2, "", nil, old) },
		"a bad way": func() (handlers.Fact, error) {
			return router.DecodeWith("account.credited", 2, "account.credited.v1", broken, old)
		},
		"from before": func() (handlers.Fact, error) { return router.Decode(old) },
	} {
		if _, err := up(); err == nil {
			t.Errorf("%s: read nevertheless", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, fact := range samples() {
		msg, err := router.Encode(&fact, handlers.Position{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg.Metadata["ce_type"], msg.Metadata["key"], msg.Metadata["position"], []byte(msg.Payload))
	}
	f.Fuzz(func(t *testing.T, kind, key, position string, payload []byte) {
		msg := message.NewMessage("", payload)
		msg.Metadata = message.Metadata{
			"ce_type": kind, "key": key, "position": position, "incarnation": "i", "ce_time": "2026-01-01T00:00:00Z",
			"account_version": "7", "transaction_version": "1",
		}
		fact, err := router.Decode(msg)
		if err != nil {
			if c, ok := handlers.ClassOf(err); !ok || c != handlers.Poison {
				t.Fatalf("class %s: %v", c, err)
			}
			return
		}
		again, err := router.Encode(&fact, handlers.Position{})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := router.Decode(again); err != nil || same.Key() != fact.Key() || same.Version() != fact.Version() {
			t.Fatalf("%+v does not survive: %+v, %v", fact, same, err)
		}
	})
}
