package github

import (
	"net/http"
	"slices"
	"strings"
)

// route of the API. A part of its pattern in braces takes any one segment.
type route struct {
	method, pattern string
	need            need
	handle          func(*Server, *http.Request, map[string]string) reply
}

func (r route) match(path string) (map[string]string, bool) {
	want, have := strings.Split(r.pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	params := map[string]string{}
	for i := range want {
		if name, isParam := strings.CutPrefix(want[i], "{"); isParam {
			params[strings.TrimSuffix(name, "}")] = have[i]
		} else if want[i] != have[i] {
			return nil, false
		}
	}
	return params, true
}

// DocumentedPaths gives the paths of all routes as GitHub documents them.
func DocumentedPaths() []string {
	documented := strings.NewReplacer(
		"{run}", "{run_id}", "{job}", "{job_id}", "{runner}", "{runner_id}", "{installation}", "{installation_id}",
		"{hook}", "{hook_id}", "{delivery}", "{delivery_id}",
	)
	var all []string
	for _, r := range routes {
		if path := documented.Replace(r.pattern); !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

const (
	get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete

	ofRepo       = "/repos/{owner}/{repo}"
	ofOrg        = "/orgs/{org}"
	ofEnterprise = "/enterprises/{enterprise}"
)

var routes = slices.Concat(generalRoutes(), appRoutes(), runnerRoutes(), hookRoutes())

func generalRoutes() []route {
	return []route{
		{get, "/rate_limit", need{free: true}, (*Server).getRateLimit},
		{get, ofRepo + "/actions/runs", readActions, (*Server).listRuns},
		{get, ofRepo + "/actions/runs/{run}", readActions, (*Server).getRun},
		{get, ofRepo + "/actions/runs/{run}/jobs", readActions, (*Server).listJobs},
		{get, ofRepo + "/actions/jobs/{job}", readActions, (*Server).getJob},
		{get, ofOrg + "/repos", need{fine: "metadata=read", public: true}, (*Server).listOrgRepositories},
		{get, "/installation/repositories", need{fine: "metadata=read", installation: true}, (*Server).listInstallationRepositories},
	}
}

func appRoutes() []route {
	app := need{app: true}
	return []route{
		{get, ofRepo + "/installation", app, (*Server).getInstallation},
		{get, ofOrg + "/installation", app, (*Server).getInstallation},
		{get, ofEnterprise + "/installation", app, (*Server).getInstallation},
		{post, "/app/installations/{installation}/access_tokens", app, (*Server).createInstallationToken},
		{get, "/app/hook/config", app, (*Server).getAppHook},
		{get, "/app/hook/deliveries", app, asApp((*Server).listDeliveries)},
		{get, "/app/hook/deliveries/{delivery}", app, asApp((*Server).getDelivery)},
		{post, "/app/hook/deliveries/{delivery}/attempts", app, asApp((*Server).attemptDelivery)},
	}
}

func runnerRoutes() []route {
	var all []route
	for _, scope := range []string{ofRepo, ofOrg, ofEnterprise} {
		runners, read, write := scope+"/actions/runners", runnersNeed(scope, "read"), runnersNeed(scope, "write")
		all = append(all,
			route{get, runners + "/downloads", read, (*Server).listDownloads},
			route{post, runners + "/generate-jitconfig", write, (*Server).generateJIT},
			route{get, runners, read, (*Server).listRunners},
			route{get, runners + "/{runner}", read, (*Server).getRunner},
			route{del, runners + "/{runner}", write, (*Server).deleteRunner},
		)
		if scope != ofRepo {
			all = append(all, route{get, scope + "/actions/runner-groups", read, (*Server).listGroups})
		}
	}
	return all
}

func hookRoutes() []route {
	var all []route
	for _, scope := range []string{ofRepo, ofOrg} {
		hooks, one := scope+"/hooks", scope+"/hooks/{hook}"
		read, write, remove := hooksNeed(scope, get), hooksNeed(scope, post), hooksNeed(scope, del)
		ping := write
		if scope == ofRepo {
			ping = read
		}
		all = append(all,
			route{get, hooks, read, (*Server).listHooks},
			route{post, hooks, write, (*Server).createHook},
			route{get, one, read, (*Server).getHook},
			route{patch, one, write, (*Server).editHook},
			route{del, one, remove, (*Server).deleteHook},
			route{post, one + "/pings", ping, (*Server).pingHook},
			route{get, one + "/deliveries", read, ofHook((*Server).listDeliveries)},
			route{get, one + "/deliveries/{delivery}", read, ofHook((*Server).getDelivery)},
			route{post, one + "/deliveries/{delivery}/attempts", write, ofHook((*Server).attemptDelivery)},
		)
	}
	return all
}
