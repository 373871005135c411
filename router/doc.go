// Package router moves messages: from the log to every handler, through the middleware, and, when a
// handler fails for good, into its parking lot. Watermill's types end here: handlers see facts.
//
// The way of a fact: Source (the log) → Tail (a message.Subscriber for each handler) → the steps of
// middleware.go in their order → the handler's function. routes.go lists who handles what.
package router
