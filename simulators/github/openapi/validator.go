// Package openapi checks HTTP traffic against GitHub's published OpenAPI description.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

// prefix of the API on a GitHub Enterprise Server, which the description leaves out.
const prefix = "/api/v3"

// Validator holds the description of some paths.
type Validator struct {
	doc *openapi3.T

	mu         sync.Mutex
	violations []string
	checked    map[string]int
}

// Load the description of these paths from the folder that hack/openapi/fetch.sh prints. A path that GitHub does not
// document is an error.
func Load(folder string, paths ...string) (*Validator, error) {
	text, err := os.ReadFile(filepath.Join(folder, "openapi", "generated", "ghec.deref.json"))
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's OpenAPI description: %w: run hack/openapi/fetch.sh", err)
	}
	var whole struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("reading GitHub's OpenAPI description: %w", err)
	}
	used := map[string]json.RawMessage{}
	for _, path := range paths {
		item, ok := whole.Paths[path]
		if !ok {
			return nil, fmt.Errorf("GitHub documents no %s", path)
		}
		used[path] = item
	}
	trimmed, err := json.Marshal(map[string]any{
		"openapi": "3.0.3", "info": map[string]string{"title": "GitHub", "version": "1"}, "paths": used,
	})
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(trimmed)
	if err != nil {
		return nil, fmt.Errorf("loading GitHub's OpenAPI description: %w", err)
	}
	return &Validator{doc: doc, checked: map[string]int{}}, nil
}

// Fresh gives a validator of the same description that has seen nothing yet.
func (v *Validator) Fresh() *Validator { return &Validator{doc: v.doc, checked: map[string]int{}} }

// Middleware checks what next is sent below the API's prefix and what it answers.
func (v *Validator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.URL.Path, prefix+"/") {
			next.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		if req.Context().Err() != nil {
			// Who asked has gone: there is no answer.
			return
		}
		v.check(req, body, answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// Violations gives what did not fit the description.
func (v *Validator) Violations() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string{}, v.violations...)
}

// Checked counts the answers that were checked, by method, path and status.
func (v *Validator) Checked() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string]int{}
	for k, n := range v.checked {
		all[k] = n
	}
	return all
}

func (v *Validator) check(req *http.Request, body []byte, answer *httptest.ResponseRecorder) {
	path, operation := v.find(req)
	name := fmt.Sprintf("%s %s %d", req.Method, path, answer.Code)
	v.mu.Lock()
	defer v.mu.Unlock()
	if operation == nil {
		v.violations = append(v.violations, fmt.Sprintf("%s %s is not documented", req.Method, req.URL.Path))
		return
	}
	v.checked[name]++
	if answer.Code < http.StatusBadRequest {
		if err := parameters(req, path, operation); err != nil {
			v.violations = append(v.violations, name+": "+err.Error())
		}
	}
	if operation.RequestBody != nil && answer.Code < http.StatusBadRequest && !none(operation.RequestBody.Value, body) {
		if err := fits(operation.RequestBody.Value.Content, body); err != nil {
			v.violations = append(v.violations, name+": request: "+err.Error())
		}
	}
	documented := operation.Responses.Value(strconv.Itoa(answer.Code))
	switch {
	case documented == nil && answer.Code < http.StatusBadRequest && answer.Code != http.StatusNotModified:
		v.violations = append(v.violations, name+" is not a documented answer")
	case documented != nil && answer.Body.Len() > 0:
		if err := fits(documented.Value.Content, answer.Body.Bytes()); err != nil {
			v.violations = append(v.violations, name+": answer: "+err.Error())
		}
	}
}

// none says that a body that may be left out is: also by writing null, as ghinstallation does and GitHub lets pass.
func none(wanted *openapi3.RequestBody, body []byte) bool {
	text := strings.TrimSpace(string(body))
	return !wanted.Required && (text == "" || text == "null")
}

// fits says whether a body fits the schema for JSON.
func fits(content openapi3.Content, body []byte) error {
	media := content.Get("application/json")
	if media == nil || media.Schema == nil {
		return nil
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return media.Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.SetSchemaErrorMessageCustomizer(brief))
}

// brief says where a body does not fit and why, without the schema.
func brief(err *openapi3.SchemaError) string {
	return strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
}

// find the operation of a request: the path with the most fixed segments that fits.
func (v *Validator) find(req *http.Request) (string, *openapi3.Operation) {
	have := strings.Split(strings.TrimPrefix(req.URL.Path, prefix), "/")
	best, fixed := "", -1
	for path := range v.doc.Paths.Map() {
		if n := match(strings.Split(path, "/"), have); n > fixed {
			best, fixed = path, n
		}
	}
	if best == "" {
		return "", nil
	}
	return best, v.doc.Paths.Value(best).GetOperation(req.Method)
}

// match gives how many segments are the same, -1 when the path does not fit.
func match(want, have []string) int {
	if len(want) != len(have) {
		return -1
	}
	fixed := 0
	for i := range want {
		switch {
		case want[i] == have[i]:
			fixed++
		case !strings.HasPrefix(want[i], "{"):
			return -1
		}
	}
	return fixed
}
