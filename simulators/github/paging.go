package github

import (
	"fmt"
	"net/http"
	"strconv"
)

// paged gives the page that the query asks for, with the link to the next.
func (s *Server) paged(req *http.Request, key string, all []any) reply {
	part, header := s.page(req, all)
	return reply{status: http.StatusOK, body: map[string]any{"total_count": len(all), key: part}, header: header}
}

// pagedBare is paged for the lists that GitHub gives without an object around them.
func (s *Server) pagedBare(req *http.Request, all []any) reply {
	part, header := s.page(req, all)
	return reply{status: http.StatusOK, body: part, header: header}
}

func (s *Server) page(req *http.Request, all []any) ([]any, http.Header) {
	query := req.URL.Query()
	size := pageSize(req)
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	begin, end := min((page-1)*size, len(all)), min(page*size, len(all))
	part := append([]any{}, all[begin:end]...)
	if end == len(all) {
		return part, nil
	}
	query.Set("page", strconv.Itoa(page+1))
	return part, s.next(req, query.Encode())
}

// pageSize that a query asks for.
func pageSize(req *http.Request) int {
	size, err := strconv.Atoi(req.URL.Query().Get("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	return min(size, 100)
}

// next is the link to the next page.
func (s *Server) next(req *http.Request, query string) http.Header {
	return http.Header{"Link": {fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.url, req.URL.Path, query)}}
}
