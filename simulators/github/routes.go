package github

import (
	"net/http"
	"strings"
)

// route of the API. A part of its pattern in braces takes any one segment.
type route struct {
	method, pattern string
	needs           need
	// app routes check by themselves who calls: an App, by its JWT.
	app    bool
	handle func(*Server, *call) reply
}

func (r *route) match(path string) (map[string]string, bool) {
	want, have := strings.Split(r.pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	params := map[string]string{}
	for i := range want {
		if name, isParam := strings.CutPrefix(want[i], "{"); isParam {
			params[strings.TrimSuffix(name, "}")] = have[i]
			if have[i] == "" {
				return nil, false
			}
		} else if want[i] != have[i] {
			return nil, false
		}
	}
	return params, true
}

const (
	get  = http.MethodGet
	post = http.MethodPost
	del  = http.MethodDelete

	oneRepo       = "/repos/{owner}/{repo}"
	oneOrg        = "/orgs/{org}"
	oneEnterprise = "/enterprises/{enterprise}"
)

var routes []route

func init() {
	routes = []route{
		{method: get, pattern: "/rate_limit", handle: (*Server).getRateLimit},
		{method: get, pattern: "/meta", handle: (*Server).getMeta},
		{method: get, pattern: oneRepo, needs: needMetadata, handle: (*Server).getRepository},
		{method: get, pattern: oneOrg + "/repos", needs: needMetadata, handle: (*Server).listRepositories},
		{method: get, pattern: oneRepo + "/actions/runs", needs: needActions, handle: (*Server).listRuns},
		{method: get, pattern: oneRepo + "/actions/runs/{run}", needs: needActions, handle: (*Server).getRun},
		{method: get, pattern: oneRepo + "/actions/runs/{run}/jobs", needs: needActions, handle: (*Server).listJobs},
		{method: get, pattern: oneRepo + "/actions/jobs/{job}", needs: needActions, handle: (*Server).getJob},
		{method: get, pattern: oneRepo + "/installation", app: true, handle: (*Server).getInstallation},
		{method: get, pattern: oneOrg + "/installation", app: true, handle: (*Server).getInstallation},
		{method: post, pattern: "/app/installations/{installation}/access_tokens", app: true, handle: (*Server).createInstallationToken},
	}
	addRunnerRoutes(oneRepo, needRepoRunners)
	addRunnerRoutes(oneOrg, needOrgRunners)
	addRunnerRoutes(oneEnterprise, needEnterpriseRunners)
	addGroupRoutes(oneOrg, needOrgRunners)
	addGroupRoutes(oneEnterprise, needEnterpriseRunners)
	addHookRoutes(oneRepo, needRepoHooks)
	addHookRoutes(oneOrg, needOrgHooks)
}

func addRunnerRoutes(scope string, needs need) {
	runners := scope + "/actions/runners"
	routes = append(routes,
		route{method: get, pattern: runners + "/downloads", needs: needs, handle: (*Server).listDownloads},
		route{method: post, pattern: runners + "/generate-jitconfig", needs: needs.write(), handle: (*Server).generateJIT},
		route{method: get, pattern: runners, needs: needs, handle: (*Server).listRunners},
		route{method: get, pattern: runners + "/{runner}", needs: needs, handle: (*Server).getRunner},
		route{method: del, pattern: runners + "/{runner}", needs: needs.write(), handle: (*Server).deleteRunner},
	)
}

func addGroupRoutes(scope string, needs need) {
	groups := scope + "/actions/runner-groups"
	routes = append(routes,
		route{method: get, pattern: groups, needs: needs, handle: (*Server).listGroups},
		route{method: get, pattern: groups + "/{group}", needs: needs, handle: (*Server).getGroup},
	)
}

func addHookRoutes(scope string, needs need) {
	hooks := scope + "/hooks"
	routes = append(routes,
		route{method: get, pattern: hooks, needs: needs, handle: (*Server).listHooks},
		route{method: post, pattern: hooks, needs: needs.write(), handle: (*Server).createHook},
		route{method: get, pattern: hooks + "/{hook}", needs: needs, handle: (*Server).getHook},
		route{method: del, pattern: hooks + "/{hook}", needs: needs.write(), handle: (*Server).deleteHook},
		route{method: get, pattern: hooks + "/{hook}/deliveries", needs: needs, handle: (*Server).listDeliveries},
		route{method: get, pattern: hooks + "/{hook}/deliveries/{delivery}", needs: needs, handle: (*Server).getDelivery},
		route{method: post, pattern: hooks + "/{hook}/deliveries/{delivery}/attempts", needs: needs.write(), handle: (*Server).redeliver},
		route{method: post, pattern: hooks + "/{hook}/pings", needs: needs, handle: (*Server).pingHook},
	)
}
