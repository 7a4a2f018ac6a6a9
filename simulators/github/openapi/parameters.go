package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxPerPage is what GitHub's descriptions of per_page say, in words only.
const maxPerPage = 100

// parameters checks those of a request's query and path.
func parameters(req *http.Request, path string, operation *openapi3.Operation) error {
	var problems []error
	known := map[string]*openapi3.Parameter{}
	for _, p := range operation.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			known[p.Value.Name] = p.Value
		}
	}
	query := req.URL.Query()
	for name, values := range query {
		parameter, documented := known[name]
		if !documented {
			problems = append(problems, fmt.Errorf("query parameter %s is not documented", name))
			continue
		}
		for _, value := range values {
			if err := valueFits(parameter, value); err != nil {
				problems = append(problems, fmt.Errorf("query parameter %s=%s: %w", name, value, err))
			}
		}
	}
	for name, parameter := range known {
		if parameter.Required && !query.Has(name) {
			problems = append(problems, fmt.Errorf("query parameter %s is missing", name))
		}
	}
	return errors.Join(append(problems, pathFits(req, path, operation))...)
}

func pathFits(req *http.Request, path string, operation *openapi3.Operation) error {
	want, have := strings.Split(path, "/"), strings.Split(strings.TrimPrefix(req.URL.Path, prefix), "/")
	for i, segment := range want {
		name, isParameter := strings.CutPrefix(segment, "{")
		if !isParameter {
			continue
		}
		parameter := operation.Parameters.GetByInAndName(openapi3.ParameterInPath, strings.TrimSuffix(name, "}"))
		if parameter == nil {
			continue
		}
		if err := valueFits(parameter, have[i]); err != nil {
			return fmt.Errorf("path parameter %s=%s: %w", parameter.Name, have[i], err)
		}
	}
	return nil
}

// valueFits says whether a text fits a parameter's schema.
func valueFits(parameter *openapi3.Parameter, text string) error {
	schema := parameter.Schema.Value
	var value any = text
	if !schema.Type.Is("string") {
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return fmt.Errorf("want %s", strings.Join(schema.Type.Slice(), " or "))
		}
	} else if schema.Format == "date-time" {
		// Where GitHub says date-time for a query, it takes ranges too.
		return nil
	}
	if err := schema.VisitJSON(value, openapi3.SetSchemaErrorMessageCustomizer(brief)); err != nil {
		return err
	}
	if n, isNumber := value.(float64); isNumber && slices.Contains([]string{"per_page", "page"}, parameter.Name) {
		if n < 1 || parameter.Name == "per_page" && n > maxPerPage {
			return errors.New("out of range")
		}
	}
	return nil
}
