package github

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// redeliveryWindow is how long GitHub keeps deliveries. Source: docs.github.com/webhooks/testing-and-troubleshooting-webhooks/
// redelivering-webhooks.
const redeliveryWindow = 3 * 24 * time.Hour

// Delivery is one that was made, or tried.
type Delivery struct {
	GUID, Event, Action string
	// Status of the answer, 0 when there was none; Answer is its text.
	Status int
	Answer string
	// Dropped by a fault, so that it was never sent.
	Dropped bool
	Body    []byte
	// ID of this attempt, 0 while it is not over. Attempts at the same delivery share the GUID.
	ID, HookID  int64
	Redelivery  bool
	DeliveredAt time.Time
	// Result in GitHub's words.
	Result string

	hook                     *hook
	repository, installation int64
	result                   result
}

func (d *Delivery) good() bool { return isSuccess(d.Status) }

// Deliveries gives all that were made or tried, the oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Delivery
	for _, d := range s.deliveries {
		all = append(all, *d)
	}
	return all
}

// Redeliver a delivery, with the same GUID and body, as GitHub does when asked to. It is back when it is done.
func (s *Server) Redeliver(guid string) {
	s.mu.Lock()
	var again []*Delivery
	for _, d := range s.deliveries {
		if d.GUID == guid && !d.Redelivery && slices.Contains(s.hooks, d.hook) {
			attempt := d.again()
			attempt.hook, attempt.HookID = d.hook, d.HookID
			again = append(again, attempt)
		}
	}
	s.deliveries = append(s.deliveries, again...)
	s.mu.Unlock()
	for _, d := range again {
		s.send(d)
	}
}

// again is a new attempt at the same delivery.
func (d *Delivery) again() *Delivery {
	return &Delivery{
		GUID: d.GUID, Event: d.Event, Action: d.Action, Body: d.Body, Redelivery: true, repository: d.repository, installation: d.installation,
	}
}

// over records what came of an attempt; that of one that was made twice is the first. The lock is held.
func (s *Server) over(d *Delivery, got result) {
	if d.ID != 0 {
		return
	}
	d.ID, d.DeliveredAt, d.result = s.newID(), s.clock.Now(), got
	d.Status, d.Answer, d.Result = got.status, got.answer, got.text
	d.hook.attempts = append(d.hook.attempts, d)
}

// hookHandler answers what concerns one hook. The lock is held.
type hookHandler func(*Server, *hook, *http.Request, map[string]string) reply

// ofHook has a call concern the hook that its path names.
func ofHook(handle hookHandler) func(*Server, *http.Request, map[string]string) reply {
	return func(s *Server, req *http.Request, params map[string]string) reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		h := s.hookOf(params)
		if h == nil {
			return notFound()
		}
		return handle(s, h, req, params)
	}
}

// asApp has a call concern the hook of the App that signed it.
func asApp(handle hookHandler) func(*Server, *http.Request, map[string]string) reply {
	return func(s *Server, req *http.Request, params map[string]string) reply {
		a, refused := s.appOf(req)
		if refused != nil {
			return *refused
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		h := s.appHook(a)
		if h == nil {
			return notFound()
		}
		return handle(s, h, req, params)
	}
}

func (s *Server) appHook(a *app) *hook {
	for _, h := range s.hooks {
		if h.Target == "app:"+strconv.FormatInt(a.id, 10) {
			return h
		}
	}
	return nil
}

func (s *Server) getAppHook(req *http.Request, params map[string]string) reply {
	return asApp(func(_ *Server, h *hook, _ *http.Request, _ map[string]string) reply { return ok(h.configJSON()) })(s, req, params)
}

// cursorPrefix keeps cursors from being taken for anything but what GitHub gave.
const cursorPrefix = "v1_"

func (s *Server) listDeliveries(h *hook, req *http.Request, _ map[string]string) reply {
	query := req.URL.Query()
	before, valid := cursor(query)
	if !valid {
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "cursor is invalid")
	}
	wanted := query.Get("status")
	if !slices.Contains([]string{"", "success", "failure"}, wanted) {
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "status must be success or failure")
	}
	found, more, size := []any{}, false, pageSize(req)
	var last int64
	for _, d := range slices.Backward(h.attempts) {
		if before != 0 && d.ID >= before || !s.kept(d) || wanted != "" && (wanted == "success") != d.good() {
			continue
		}
		if len(found) == size {
			more = true
			break
		}
		found, last = append(found, deliveryJSON(d)), d.ID
	}
	answer := ok(found)
	if more {
		query.Set("per_page", strconv.Itoa(size))
		query.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix+strconv.FormatInt(last, 10))))
		answer.header = s.next(req, query.Encode())
	}
	return answer
}

// cursor gives the ID before which a page begins, 0 for the first page.
func cursor(query url.Values) (int64, bool) {
	text := query.Get("cursor")
	if text == "" {
		return 0, true
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	number, prefixed := strings.CutPrefix(string(decoded), cursorPrefix)
	id, err2 := strconv.ParseInt(number, 10, 64)
	return id, prefixed && err == nil && err2 == nil
}

func (s *Server) kept(d *Delivery) bool { return s.clock.Since(d.DeliveredAt) <= redeliveryWindow }

// deliveryOf the call, nil when there is none, or none any more.
func (s *Server) deliveryOf(h *hook, params map[string]string) *Delivery {
	id, err := strconv.ParseInt(params["delivery"], 10, 64)
	for _, d := range h.attempts {
		if err == nil && d.ID == id && s.kept(d) {
			return d
		}
	}
	return nil
}

func (s *Server) getDelivery(h *hook, _ *http.Request, params map[string]string) reply {
	d := s.deliveryOf(h, params)
	if d == nil {
		return notFound()
	}
	out := deliveryJSON(d)
	out["url"] = h.URL
	out["request"] = map[string]any{"headers": headersJSON(d.result.sent), "payload": json.RawMessage(d.Body)}
	out["response"] = map[string]any{"headers": headersJSON(d.result.received), "payload": d.Answer}
	return ok(out)
}

// attemptDelivery sends a delivery again, on the same way as at first: it can be lost again.
func (s *Server) attemptDelivery(h *hook, _ *http.Request, params map[string]string) reply {
	d := s.deliveryOf(h, params)
	if d == nil {
		return notFound()
	}
	s.queue(h, d.again())
	return reply{status: http.StatusAccepted, body: map[string]any{}}
}

func deliveryJSON(d *Delivery) map[string]any {
	return map[string]any{
		"id": d.ID, "guid": d.GUID, "delivered_at": d.DeliveredAt.UTC().Format("2006-01-02T15:04:05.000Z"), "redelivery": d.Redelivery,
		"duration": d.result.took.Seconds(), "status": d.Result, "status_code": d.Status, "event": d.Event, "action": orNull(d.Action),
		"installation_id": numberOrNull(d.installation), "repository_id": numberOrNull(d.repository), "throttled_at": nil,
	}
}

func numberOrNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func headersJSON(header http.Header) map[string]any {
	out := map[string]any{}
	for name := range header {
		out[name] = header.Get(name)
	}
	return out
}
