# BankForge: everything that is done with the tree has a name here. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(TOOLS)/venv/bin:$(PATH)

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: ## A bank to look at: http://127.0.0.1:8080, with customers, accounts and a trickle of transactions
	go run ./cmd/bankforge --demo

.PHONY: build
build: ## The binary, bin/bankforge
	go build -o bin/bankforge ./cmd/bankforge

.PHONY: install
install: ## What the tests need beside Go, Node and Python: Chromium, servers, a linter, schemathesis …
	@scripts/install.sh

.PHONY: test
test: install ## Everything that a change must pass, with a summary at the end
	@scripts/test.sh

.PHONY: check
check: ## What is generated is what is committed; formatting; go.mod
	@scripts/check.sh

.PHONY: generate
generate: ## Write api/ anew from the program
	@scripts/generate.sh api

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: lint
lint: ## golangci-lint, with the rules of .golangci.yml
	golangci-lint run ./...

.PHONY: tidy
tidy: ## The rules of the house: sizes, import arrows, banned calls, documents
	go test -count=1 -run '^TestHouse' .

.PHONY: unit
unit: ## All Go tests, with the race detector: units, properties, journeys, the tour of the README
	go test -race -timeout 15m ./...

.PHONY: drill
drill: ## Kill, stop, starve and damage a bank, and see what it keeps of its promises; PROFILE=kafka: on servers
	@scripts/drill.sh $(ARGS)

.PHONY: browser
browser: ## The page and the live channel in a real browser
	@scripts/browser.sh

.PHONY: bench
bench: ## Speed and memory against their targets; PROFILE=kafka on servers; ARGS="--only burst,hot" for some lines
	@PROFILE=$(PROFILE) scripts/bench.sh $(ARGS)

.PHONY: services
services: ## PostgreSQL, Kafka, Redis, MongoDB and Mailpit; prints how to reach them, for eval in a shell
	@scripts/services.sh up

.PHONY: services-down
services-down: ## Stop them; their data stays
	@scripts/services.sh down

.PHONY: schema
schema: build ## schemathesis against a running server: the API does what its OpenAPI document says
	@scripts/schemathesis.sh

.PHONY: clean
clean: ## Forget what was built and installed
	@[ ! -d .tools/services ] || scripts/services.sh down
	rm -rf bin .tools console/node_modules
