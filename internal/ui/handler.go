package ui

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"
)

//go:embed assets
var embedded embed.FS

// policy of the page: what it is made of comes from here, nothing is inline, and nobody frames it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler of everything below Path.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler(Path, http.StatusFound))
	mux.Handle("GET "+Path+"/{$}", http.RedirectHandler(Path, http.StatusFound))
	mux.HandleFunc("GET "+Path, s.page)
	mux.HandleFunc("GET "+Path+"/api/state", s.state)
	mux.HandleFunc("GET "+Path+"/api/events", s.stream("state", func(v *view) ([]byte, error) { return v.json, nil }))
	mux.HandleFunc("GET "+Path+"/events", s.stream("page", func(v *view) ([]byte, error) { return v.html() }))
	mux.HandleFunc("GET "+Path+"/assets/{name}", asset)
	return guard(s.address, mux)
}

// guard every answer: nothing is kept, framed, guessed at or given to another site.
func guard(address string, next http.Handler) http.Handler {
	local := isLocal(address)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy":      policy,
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control":                "no-store",
		} {
			w.Header().Set(name, value)
		}
		switch {
		case local && !isLocal(req.Host):
			// A name of somebody else that leads to this machine: DNS rebinding.
			http.Error(w, "this address serves localhost only: open it as http://localhost", http.StatusMisdirectedRequest)
			return
		case req.Header.Get("Sec-Fetch-Site") == "cross-site" && req.Header.Get("Sec-Fetch-Mode") != "navigate":
			http.Error(w, "not for other sites", http.StatusForbidden)
			return
		case req.ContentLength != 0:
			w.Header().Set("Connection", "close")
			http.Error(w, "nothing is taken here", http.StatusBadRequest)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		next.ServeHTTP(w, req)
	})
}

// isLocal says that an address, with or without a port, is this machine's own and nobody else's.
func isLocal(address string) bool {
	host := address
	if name, _, err := net.SplitHostPort(address); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// view that a request asks for; none after it has been answered with an error.
func (s *Server) view(w http.ResponseWriter, req *http.Request) *view {
	now, _, err := s.snapshots.latest(req.Context())
	var v *view
	if err == nil {
		v, err = now.view(parseFilter(req.URL.Query()))
	}
	if err != nil {
		s.log.Error(err, "could not show the status page")
		http.Error(w, "the cluster cannot be read at the moment: try again", http.StatusServiceUnavailable)
		return nil
	}
	return v
}

// page as a whole, as it is without JavaScript.
func (s *Server) page(w http.ResponseWriter, req *http.Request) {
	v := s.view(w, req)
	if v == nil {
		return
	}
	live, err := v.html()
	var text []byte
	if err == nil {
		text, err = renderPage(v.state, live)
	}
	if err != nil {
		s.log.Error(err, "could not render the status page")
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text)
}

// state as JSON, for programs.
func (s *Server) state(w http.ResponseWriter, req *http.Request) {
	v := s.view(w, req)
	if v == nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", `"`+v.id+`"`)
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(v.json))
}

// asset of the page. It is asked for again each time and sent when it has changed, since a new version has the same names.
func asset(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("name")
	tag, known := assetTags[name]
	if !known {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", tag)
	if kind := kinds[path.Ext(name)]; kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	http.ServeFileFS(w, req, embedded, "assets/"+name) //nolint:gosec // one of the names that are known
}

// kinds of assets. The machine's own table, which Go asks by default, may say anything.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// assetTags of all assets, by name.
var assetTags = func() map[string]string {
	tags := map[string]string{}
	names, err := fs.Glob(embedded, "assets/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		text, err := embedded.ReadFile(name)
		if err != nil {
			panic(err)
		}
		tags[path.Base(name)] = fmt.Sprintf(`"%s"`, digest(text))
	}
	return tags
}()
