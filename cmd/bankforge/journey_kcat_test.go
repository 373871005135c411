package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"bankforge/api/apitest"
	"bankforge/router/mirror"
)

// kcatCommand shows with kcat all that is in the topics of the script's bank, and holds it against the AsyncAPI
// document.
func kcatCommand(all []string, documented map[string]apitest.Message) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, !neg && len(args) == 0, "kcat")
		prefix := ts.Getenv("BANKFORGE_PREFIX")
		var listed struct {
			Topics []struct {
				Topic string `json:"topic"`
			} `json:"topics"`
		}
		ts.Check(json.Unmarshal(runKcat(ts, "-L", "-J"), &listed))
		var topics []string
		for _, t := range listed.Topics {
			if topic, ours := strings.CutPrefix(t.Topic, prefix); ours && prefix != "" {
				topics = append(topics, topic)
			}
		}
		if slices.Sort(topics); !slices.Equal(topics, all) {
			ts.Fatalf("there are the topics %v, and documented are %v", topics, all)
		}
		shown := map[string]int{}
		for _, topic := range topics {
			out := runKcat(ts, "-C", "-t", prefix+topic, "-o", "beginning", "-e", "-q", "-J")
			for line := range bytes.Lines(out) {
				kind, err := asDocumented(documented, topic, line)
				if err != nil {
					ts.Fatalf("topic %s: %v: %s", topic, err, line)
				}
				shown[kind]++
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(documented)) {
			if kind == apitest.DeadLetter {
				continue
			}
			fmt.Fprintf(ts.Stdout(), "%s %d\n", kind, shown[kind])
		}
	}
}

// runKcat is what kcat says of the script's Kafka.
func runKcat(ts *testscript.TestScript, args ...string) []byte {
	program, err := exec.LookPath("kcat")
	if err != nil {
		ts.Fatalf("%v: it is Debian's package kcat, and scripts/install.sh brings it (make install)", err)
	}
	cmd := exec.Command(program, append([]string{"-b", ts.Getenv("BANKFORGE_KAFKA")}, args...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		ts.Fatalf("kcat %v: %v: %s", args, err, &complaints)
	}
	return out
}

// asDocumented reads a message as "kcat -J" shows it, and tells of which type it is. It has a key, which its headers
// name as well; its headers are those of a CloudEvent, and they and its payload are as documented for this topic.
func asDocumented(documented map[string]apitest.Message, topic string, line []byte) (kind string, err error) {
	var shown struct {
		Key     string   `json:"key"`
		Headers []string `json:"headers"` // name, value, and so on
		Payload string   `json:"payload"`
	}
	if err := json.Unmarshal(line, &shown); err != nil {
		return "", err
	}
	headers := map[string]any{}
	for i := 0; i+1 < len(shown.Headers); i += 2 {
		if name := shown.Headers[i]; !strings.HasPrefix(name, "_watermill") {
			headers[name] = shown.Headers[i+1]
		}
	}
	kind, _ = headers["ce_type"].(string)
	m, ok := documented[kind]
	if m.Topic+mirror.Suffix == topic { // a message of this type, parked
		kind = apitest.DeadLetter
		m = documented[kind]
		m.Topic = topic // one of those that it has
	}
	switch {
	case !ok || m.Topic != topic:
		return kind, fmt.Errorf("%q is not documented for it", kind)
	case shown.Key == "" || headers["key"] != shown.Key || headers["ce_subject"] != shown.Key:
		return kind, fmt.Errorf("the key is %q, and the headers say %v, of %v", shown.Key, headers["key"],
			headers["ce_subject"])
	}
	payload, err := jsonschema.UnmarshalJSON(strings.NewReader(shown.Payload))
	if err != nil {
		return kind, err
	}
	return kind, errors.Join(m.Headers.Validate(headers), m.Payload.Validate(payload))
}

func TestWhatKcatShowsMustBeAsDocumented(t *testing.T) {
	t.Parallel()
	documented := apitest.Messages(t)
	golden, err := os.ReadFile(filepath.Join("..", "..", "api", "messages", "account.credited.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		topic, was, is string // in the line
		found          string
	}{
		"right":            {},
		"another topic":    {topic: "bankforge.transactions.v1", found: "not documented for it"},
		"parked, not said": {topic: "bankforge.accounts.v1.dlt", found: "kafka_dlt-original-topic"},
		"unknown type":     {was: "credited.v1", is: "credited.v9", found: "not documented for it"},
		"no key":           {was: `"key":"acc_00000000000000000000000004"`, is: `"key":null`, found: "the key is"},
		"no CloudEvent":    {was: "ce_specversion", is: "ce_something", found: "ce_specversion"},
		"no version":       {was: `"account_version"`, is: `"other_version"`, found: "account_version"},
		"amount as number": {was: `\"1250\"`, is: `1250`, found: "number"},
		"no JSON":          {was: `"payload":"{`, is: `"payload":"`, found: "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := kcatLine(t, golden)
			if c.was != "" {
				if line = strings.Replace(line, c.was, c.is, 1); !strings.Contains(line, c.is) {
					t.Fatalf("nothing is spoilt: %s", line)
				}
			}
			topic := c.topic
			if topic == "" {
				topic = "bankforge.accounts.v1"
			}
			_, err := asDocumented(documented, topic, []byte(line))
			if (err == nil) != (c.found == "") || err != nil && !strings.Contains(err.Error(), c.found) {
				t.Errorf("found %v, want %q", err, c.found)
			}
		})
	}
}

// kcatLine is a golden message as kcat shows it.
func kcatLine(t *testing.T, golden []byte) string {
	t.Helper()
	var m struct {
		Headers map[string]string `json:"headers"`
		Payload json.RawMessage   `json:"payload"`
	}
	if err := json.Unmarshal(golden, &m); err != nil {
		t.Fatal(err)
	}
	var payload bytes.Buffer
	if err := json.Compact(&payload, m.Payload); err != nil {
		t.Fatal(err)
	}
	headers := []string{"_watermill_message_uuid", "1"}
	for name, value := range m.Headers {
		headers = append(headers, name, value)
	}
	line, err := json.Marshal(map[string]any{
		"topic": "t", "partition": 0, "offset": 7, "key": m.Headers["key"], "headers": headers, "payload": payload.String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}
