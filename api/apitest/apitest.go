// Package apitest reads the documents of the API for tests that hold what the bank says against them.
package apitest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"bankforge/api"
)

// Message is what the AsyncAPI document says of one type of message.
type Message struct {
	Topic            string // without any prefix
	Headers, Payload *jsonschema.Schema
}

// DeadLetter is what the document says of messages that were parked, on each of the topics where those are shown.
const DeadLetter = "bankforge.dead_letter"

// Topics are those of the AsyncAPI document, without any prefix.
func Topics(tb testing.TB) (all []string) {
	tb.Helper()
	var doc struct {
		Channels map[string]struct{ Address string }
	}
	if err := yaml.Unmarshal(api.AsyncAPI, &doc); err != nil {
		tb.Fatal(err)
	}
	for _, channel := range doc.Channels {
		all = append(all, channel.Address)
	}
	slices.Sort(all)
	return all
}

// ref points to something in the document.
type ref struct {
	Ref string `yaml:"$ref"`
}

// Messages are those of the AsyncAPI document, by the type of the message.
func Messages(tb testing.TB) map[string]Message {
	tb.Helper()
	var doc struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]ref
		}
		Components struct {
			Messages map[string]struct {
				Name             string
				Headers, Payload ref
			}
		}
	}
	var whole any
	compiler := jsonschema.NewCompiler()
	err := errors.Join(yaml.Unmarshal(api.AsyncAPI, &doc), yaml.Unmarshal(api.AsyncAPI, &whole))
	if err == nil {
		err = compiler.AddResource("asyncapi.yaml", whole)
	}
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]Message{}
	for _, channel := range doc.Channels {
		for _, r := range channel.Messages {
			m := doc.Components.Messages[strings.TrimPrefix(r.Ref, "#/components/messages/")]
			headers, err1 := compiler.Compile("asyncapi.yaml" + m.Headers.Ref)
			payload, err2 := compiler.Compile("asyncapi.yaml" + m.Payload.Ref)
			if err := errors.Join(err1, err2); err != nil {
				tb.Fatal(fmt.Errorf("%s: %w", r.Ref, err))
			}
			all[m.Name] = Message{channel.Address, headers, payload}
		}
	}
	return all
}
