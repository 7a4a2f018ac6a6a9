// Package modal is a server that behaves as Modal's control plane, for tests and demos: the unmodified SDKs for Go
// (github.com/modal-labs/libmodal/modal-go) and for JavaScript (modal on npm) talk to it when MODAL_SERVER_URL is its URL.
// The suite for the second is in test/modaljs.
//
// It is strict on purpose. What Modal refuses, it refuses with the same gRPC code, and where Modal's behaviour is not
// known it takes the harder one: what a simulator forgives, users find. Sources of what it does: the SDK (sandbox.go,
// image.go, client.go), its tests against the real service (test/*_test.go), and Modal's guide (modal.com/docs/guide).
// What it does not have answers Unimplemented: tunnels, snapshots, files, connect tokens, and all that is not about sandboxes.
//
// All times of sandboxes, builds, waits, latencies and delays are those of Options.Clock. Only the auth tokens live on
// Options.TokenClock, since the SDK compares their expiry with the time of day. What is due at the clock's time has
// happened before a call is served, so that after a step of a fake clock the next call sees its effects.
//
// The server uses the SDK's own protobuf package: a second copy of the same file would panic at start.
package modal
