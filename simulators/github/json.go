package github

import (
	"fmt"
	"time"
)

const headSHA = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// jobJSON is a job as the API and the webhooks give it.
func (s *Server) jobJSON(j *job) map[string]any {
	repoURL, page := s.apiURL(j.run.repo), s.url+"/"+j.run.repo.fullName
	started := j.startedAt
	if started.IsZero() {
		started = j.createdAt
	}
	steps := []any{}
	for i, st := range j.steps {
		status := "queued"
		if st.conclusion != "" {
			status = "completed"
		}
		steps = append(steps, map[string]any{"name": st.Name, "status": status, "conclusion": orNull(st.conclusion), "number": i + 1})
	}
	out := map[string]any{
		"id": j.id, "run_id": j.run.id, "workflow_name": j.run.workflow, "head_branch": "main", "run_url": fmt.Sprintf("%s/actions/runs/%d", repoURL, j.run.id),
		"run_attempt": 1, "node_id": fmt.Sprintf("CR_%d", j.id), "head_sha": headSHA, "url": fmt.Sprintf("%s/actions/jobs/%d", repoURL, j.id),
		"html_url": fmt.Sprintf("%s/actions/runs/%d/job/%d", page, j.run.id, j.id), "status": j.status, "conclusion": orNull(j.conclusion),
		"created_at": stamp(j.createdAt), "started_at": stamp(started), "completed_at": stampOrNull(j.endedAt), "name": j.name, "steps": steps,
		"check_run_url": fmt.Sprintf("%s/check-runs/%d", repoURL, j.id), "labels": append([]string{}, j.labels...),
		"runner_id": nil, "runner_name": nil, "runner_group_id": nil, "runner_group_name": nil,
	}
	if j.runner != nil {
		out["runner_id"], out["runner_name"], out["runner_group_id"], out["runner_group_name"] = j.runner.id, j.runner.name, j.runner.group, s.groupName(j.runner)
	}
	return out
}

func (s *Server) apiURL(r *repository) string { return s.url + "/api/v3/repos/" + r.fullName }

// runJSON is a run as the API gives it.
func (s *Server) runJSON(r *run) map[string]any {
	status, conclusion := r.status()
	base := fmt.Sprintf("%s/actions/runs/%d", s.apiURL(r.repo), r.id)
	owner := s.ownerJSON(r.repo)
	return map[string]any{
		"id": r.id, "name": r.workflow, "node_id": fmt.Sprintf("WFR_%d", r.id), "head_branch": "main", "head_sha": headSHA, "path": r.path,
		"display_title": r.workflow, "run_number": r.number, "run_attempt": 1, "event": r.event, "status": status, "conclusion": orNull(conclusion),
		"workflow_id": 1, "check_suite_id": r.id, "check_suite_node_id": "CS_1", "url": base,
		"html_url": fmt.Sprintf("%s/%s/actions/runs/%d", s.url, r.repo.fullName, r.id), "pull_requests": []any{},
		"created_at": stamp(r.createdAt), "updated_at": stamp(r.createdAt), "run_started_at": stamp(r.createdAt), "actor": owner,
		"triggering_actor": owner, "jobs_url": base + "/jobs", "logs_url": base + "/logs", "check_suite_url": s.apiURL(r.repo) + "/check-suites/1",
		"artifacts_url": base + "/artifacts", "cancel_url": base + "/cancel", "rerun_url": base + "/rerun", "previous_attempt_url": nil,
		"workflow_url": s.apiURL(r.repo) + "/actions/workflows/1", "referenced_workflows": []any{},
		"head_commit": map[string]any{
			"id": headSHA, "tree_id": headSHA, "message": "Push", "timestamp": stamp(r.createdAt),
			"author": map[string]any{"name": "octo", "email": "octo@example.com"}, "committer": map[string]any{"name": "octo", "email": "octo@example.com"},
		},
		"repository": s.repoJSON(r.repo), "head_repository": s.repoJSON(r.head),
	}
}

func (s *Server) ownerJSON(r *repository) map[string]any { return s.accountJSON(r.owner()) }

// accountJSON is an organization as other objects carry it.
func (s *Server) accountJSON(login string) map[string]any {
	user := s.url + "/api/v3/users/" + login
	out := map[string]any{
		"login": login, "id": 1, "node_id": "U_1", "avatar_url": s.url + "/avatar", "gravatar_id": "", "url": user,
		"html_url": s.url + "/" + login, "type": "Organization", "site_admin": false, "user_view_type": "public",
	}
	for _, name := range []string{
		"followers", "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "subscriptions", "organizations", "repos",
		"events{/privacy}", "received_events",
	} {
		key := name
		for i, c := range name {
			if c == '{' {
				key = name[:i]
				break
			}
		}
		if key == "organizations" {
			out["organizations_url"] = user + "/orgs"
			continue
		}
		out[key+"_url"] = user + "/" + name
	}
	return out
}

// repoJSON is a repository in the short form that other objects carry.
func (s *Server) repoJSON(r *repository) map[string]any {
	base := s.apiURL(r)
	out := map[string]any{
		"id": r.id, "node_id": fmt.Sprintf("R_%d", r.id), "name": r.name(), "full_name": r.fullName, "private": r.Private,
		"owner": s.ownerJSON(r), "html_url": s.url + "/" + r.fullName, "description": nil, "fork": r.Fork, "url": base,
	}
	for _, name := range []string{
		"archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents", "contributors",
		"deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks", "issue_comment", "issue_events",
		"issues", "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls", "releases", "stargazers", "statuses",
		"subscribers", "subscription", "tags", "teams", "trees",
	} {
		out[name+"_url"] = base + "/" + name
	}
	return out
}
