package github

// use says what a call is for. When GitHub's limits run short, housekeeping stops first and what serves waiting jobs last.
type use int

const (
	housekeeping use = iota
	watching
	servingJobs
)

// Points of a request towards GitHub's secondary limit.
// Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#calculating-points-for-the-secondary-rate-limit.
const (
	read  = 1
	write = 5
)

// operation is one kind of call that the product makes.
type operation struct {
	// name in errors and in the metric.
	name string
	use  use
	// points of each of its requests.
	points int
}

// All operations.
var (
	mintJIT       = operation{"minting JIT config", servingJobs, write}
	findRunner    = operation{"finding runner by name", servingJobs, read}
	removeRunner  = operation{"removing runner", servingJobs, write}
	findGroup     = operation{"finding the runner group", servingJobs, read}
	findInstall   = operation{"finding the App's installation", servingJobs, read}
	mintToken     = operation{"getting a token of the App's installation", servingJobs, write}
	askForJob     = operation{"asking for a job", servingJobs, read}
	askForRun     = operation{"asking for a run", servingJobs, read}
	askForRunner  = operation{"asking for a runner", watching, read}
	listRunners   = operation{"listing runners", watching, read}
	listRuns      = operation{"listing runs", watching, read}
	listJobs      = operation{"listing jobs of a run", watching, read}
	listRepos     = operation{"listing repositories", watching, read}
	checkRunners  = operation{"checking access to runners", servingJobs, read}
	checkActions  = operation{"checking access to workflow runs", servingJobs, read}
	findRelease   = operation{"resolving the runner version", servingJobs, read}
	listHooks     = operation{"listing webhooks", housekeeping, read}
	createHook    = operation{"creating the webhook", housekeeping, write}
	editHook      = operation{"repairing the webhook", housekeeping, write}
	deleteHook    = operation{"removing the webhook", servingJobs, write}
	listDelivered = operation{"listing webhook deliveries", housekeeping, read}
	redeliver     = operation{"asking for a webhook delivery again", housekeeping, write}
)
