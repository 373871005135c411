// Package operations says how the parking lot, the handlers and what operators do look in JSON, what stands in the
// bodies of their acts, and how much of a parked payload who may see. The structs are the schemas of the OpenAPI
// document, as those of package render are.
package operations
