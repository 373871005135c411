// Package api holds the documents that describe the bank to those who program against it.
package api

import _ "embed" // the documents

// AsyncAPI is the document of the messages (AsyncAPI 3, YAML).
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
