package github

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"sync"

	"k8s.io/utils/lru"
)

const (
	// conditionalEntries bounds what is kept of earlier answers, per credential, conditionalBytes each of them and
	// conditionalTotal all together. A pool of a repository needs three of them: with fewer than all pools need, all that is asked
	// in turn would push each other out, and no answer would be free.
	conditionalEntries = 16 << 10
	conditionalBytes   = 1 << 20
	conditionalTotal   = 16 << 20

	// fromCacheHeader marks an answer whose body GitHub did not send again.
	fromCacheHeader = "X-From-Cache"
)

// conditional asks for what it has seen before with If-None-Match, since a 304 is free of the rate limit. Unlike an HTTP
// cache it always asks: the max-age of GitHub's answers would hide a new job for a minute.
// Source: docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate.
type conditional struct {
	next http.RoundTripper
	seen *lru.Cache
	// mu is held by who changes what is seen, so that kept counts each answer once.
	mu sync.Mutex
	// kept bytes of all that is seen.
	kept int64
}

type seenAnswer struct {
	etag   string
	header http.Header
	body   []byte
}

func newConditional(next http.RoundTripper) *conditional {
	c := &conditional{next: next}
	c.seen = lru.NewWithEvictionFunc(conditionalEntries, func(_ lru.Key, dropped any) {
		c.kept -= int64(len(dropped.(*seenAnswer).body))
	})
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *conditional) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return c.next.RoundTrip(req)
	}
	key := req.URL.String()
	var earlier *seenAnswer
	if hit, ok := c.seen.Get(key); ok {
		earlier = hit.(*seenAnswer)
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", earlier.etag)
	}
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified && earlier != nil {
		return earlier.answer(resp), nil
	}
	return c.remember(key, resp)
}

// keptHeaders of an answer are those that a 304 may leave out: the rest is told again.
var keptHeaders = []string{"Content-Type", "Link"}

// answer is the earlier one with the rate limit of the new one.
func (s *seenAnswer) answer(notModified *http.Response) *http.Response {
	_ = notModified.Body.Close()
	header := notModified.Header.Clone()
	for _, name := range keptHeaders {
		if value := s.header.Get(name); value != "" && header.Get(name) == "" {
			header.Set(name, value)
		}
	}
	header.Set(fromCacheHeader, "1")
	header.Set("Content-Length", strconv.Itoa(len(s.body)))
	answer := *notModified
	answer.StatusCode, answer.Status = http.StatusOK, "200 OK"
	answer.Header = header
	answer.ContentLength = int64(len(s.body))
	answer.Body = io.NopCloser(bytes.NewReader(s.body))
	return &answer
}

func (c *conditional) remember(key string, resp *http.Response) (*http.Response, error) {
	etag := resp.Header.Get("ETag")
	if resp.StatusCode != http.StatusOK || etag == "" || resp.ContentLength > conditionalBytes {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, conditionalBytes+1))
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	if len(body) > conditionalBytes {
		resp.Body = readCloser{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
		return resp, nil
	}
	_ = resp.Body.Close()
	kept := http.Header{}
	for _, name := range keptHeaders {
		if value := resp.Header.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	c.keep(key, &seenAnswer{etag: etag, header: kept, body: body})
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (c *conditional) keep(key string, answer *seenAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Remove(key)
	c.kept += int64(len(answer.body))
	c.seen.Add(key, answer)
	for c.kept > conditionalTotal && c.seen.Len() > 0 {
		c.seen.RemoveOldest()
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}
