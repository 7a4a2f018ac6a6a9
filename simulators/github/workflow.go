package github

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nektos/act/pkg/model"
	"gopkg.in/yaml.v3"
)

// Push a workflow file, which starts a run of it. The file is parsed as GitHub's own format, strictly.
func (s *Server) Push(repo, file string, workflow []byte) (int64, error) {
	parsed, err := model.ReadWorkflow(bytes.NewReader(workflow), true)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", file, err)
	}
	order, gates, err := keysOf(workflow)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", file, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.repos[strings.ToLower(repo)]
	if !ok {
		return 0, fmt.Errorf("no repository %s", repo)
	}
	known.pushed(s.clock.Now())
	r := s.newRun(known, cmp.Or(parsed.Name, file), ".github/workflows/"+file)
	for _, key := range order {
		jobs, err := s.expand(r, key, parsed.Jobs[key], parsed.Env)
		if err != nil {
			return 0, fmt.Errorf("reading job %s: %w", key, err)
		}
		for _, j := range jobs {
			j.gated = gates[key]
		}
		r.jobs = append(r.jobs, jobs...)
	}
	s.advanceRun(r)
	return r.id, nil
}

func (s *Server) newRun(repo *repository, workflow, path string) *run {
	r := &run{
		id: s.newID(), number: len(s.runs) + 1, repo: repo, head: repo, event: "push", workflow: workflow, path: path, createdAt: s.clock.Now(),
	}
	s.runs = append(s.runs, r)
	return r
}

// AddQueuedJob starts a run of one job, as a push does, and gives the job's ID.
func (s *Server) AddQueuedJob(repo, name string, labels []string, steps ...string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.repos[strings.ToLower(repo)]
	known.pushed(s.clock.Now())
	return s.startJob(s.newRun(known, "test", ".github/workflows/test.yml"), name, labels, steps)
}

// AddQueuedJobs starts a run of several jobs, as a push to a workflow with a matrix does, and gives their IDs.
func (s *Server) AddQueuedJobs(repo, name string, count int, labels []string, steps ...string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.repos[strings.ToLower(repo)]
	known.pushed(s.clock.Now())
	r, ids := s.newRun(known, "test", ".github/workflows/test.yml"), make([]int64, count)
	for i := range ids {
		j := s.newJob(r, fmt.Sprintf("%s (%d)", name, i+1), labels, steps)
		ids[i], r.jobs = j.id, append(r.jobs, j)
	}
	s.advanceRun(r)
	return ids
}

// AddForkJob starts a run of one job for a pull request whose commit is in a fork, and gives the job's ID.
func (s *Server) AddForkJob(repo, headRepository, name string, labels []string, steps ...string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.newRun(s.repos[strings.ToLower(repo)], "test", ".github/workflows/test.yml")
	head := repository{id: s.newID(), fullName: headRepository, createdAt: r.createdAt, updatedAt: r.createdAt}
	if known, ok := s.repos[strings.ToLower(headRepository)]; ok {
		head = *known
	}
	head.Fork = true
	r.event, r.head = "pull_request", &head
	return s.startJob(r, name, labels, steps)
}

// startJob as the only one of a run. The lock is held.
func (s *Server) startJob(r *run, name string, labels, steps []string) int64 {
	j := s.newJob(r, name, labels, steps)
	r.jobs = []*job{j}
	s.advanceRun(r)
	return j.id
}

func (s *Server) newJob(r *run, name string, labels, steps []string) *job {
	j := &job{id: s.newID(), key: name, run: r, name: name, labels: labels, status: "queued"}
	for i, text := range steps {
		j.steps = append(j.steps, step{Name: fmt.Sprintf("Step %d", i+1), Run: text})
	}
	return j
}

// keysOf the jobs of a workflow, in the order of the file, and which have an environment that holds them at a gate. The
// model does not keep either.
func keysOf(workflow []byte) (order []string, gates map[string]bool, err error) {
	var file struct {
		Jobs yaml.Node `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(workflow, &file); err != nil {
		return nil, nil, err
	}
	gates = map[string]bool{}
	for i := 0; i+1 < len(file.Jobs.Content); i += 2 {
		key := file.Jobs.Content[i].Value
		order = append(order, key)
		var body struct {
			Environment any `yaml:"environment"`
		}
		if err := file.Jobs.Content[i+1].Decode(&body); err != nil {
			return nil, nil, err
		}
		gates[key] = body.Environment != nil
	}
	return order, gates, nil
}

// expand a job of the workflow into one for each combination of its matrix.
func (s *Server) expand(r *run, key string, source *model.Job, env map[string]string) ([]*job, error) {
	combinations, err := source.GetMatrixes()
	if err != nil {
		return nil, err
	}
	var jobs []*job
	for _, matrix := range combinations {
		vars := map[string]string{}
		for name, value := range matrix {
			vars["matrix."+name] = fmt.Sprint(value)
		}
		own := map[string]string{}
		maps.Copy(own, env)
		maps.Copy(own, source.Environment())
		for name, value := range own {
			own[name] = substitute(value, vars)
			vars["env."+name] = own[name]
		}
		j := &job{
			id: s.newID(), key: key, needs: source.Needs(), run: r, name: jobName(cmp.Or(source.Name, key), matrix, source.Name != "", vars),
			env: own, status: "queued",
		}
		for _, label := range source.RunsOn() {
			j.labels = append(j.labels, substitute(label, vars))
		}
		if len(j.labels) == 0 {
			return nil, fmt.Errorf("runs-on is missing")
		}
		for i, st := range source.Steps {
			j.steps = append(j.steps, step{Name: stepName(i, st), Run: substitute(st.Run, vars), Env: st.Environment()})
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// jobName as GitHub shows it: with the matrix's values in parentheses, unless the name has an expression of its own.
func jobName(name string, matrix map[string]any, given bool, vars map[string]string) string {
	if len(matrix) == 0 {
		return name
	}
	if given && strings.Contains(name, "${{") {
		return substitute(name, vars)
	}
	var values []string
	for _, key := range slices.Sorted(maps.Keys(matrix)) {
		values = append(values, fmt.Sprint(matrix[key]))
	}
	return fmt.Sprintf("%s (%s)", name, strings.Join(values, ", "))
}

func stepName(i int, st *model.Step) string {
	switch {
	case st.Name != "":
		return st.Name
	case st.Uses != "":
		return "Run " + st.Uses
	case st.Run != "":
		return "Run " + strings.SplitN(st.Run, "\n", 2)[0]
	default:
		return fmt.Sprintf("Step %d", i+1)
	}
}

// substitute the expressions ${{ matrix.x }} and ${{ env.x }}; others become empty, as unknown names do at GitHub.
func substitute(text string, vars map[string]string) string {
	for {
		before, rest, found := strings.Cut(text, "${{")
		if !found {
			return text
		}
		name, after, _ := strings.Cut(rest, "}}")
		text = before + vars[strings.TrimSpace(name)] + after
	}
}
