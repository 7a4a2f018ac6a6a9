package main

const (
	api         = "./api/v1alpha1"
	e2e         = "./test/e2e"
	github      = "./internal/github"
	ingress     = "./internal/ingress"
	runner      = "./controllers/runner"
	runnerpool  = "./controllers/runnerpool"
	workflowjob = "./controllers/workflowjob"
)

// mutants, one for each mechanism that an invariant rests on.
var mutants = []mutant{
	{
		"I1", "no more Runners than the limit leaves room for", "controllers/runnerpool/plan.go",
		"case len(chosen) == room:", "case false:", runnerpool, "TestPlanProperties",
	},
	{
		"I1", "a Runner is named by its slot", "controllers/runnerpool/runners.go",
		`fmt.Sprintf("%s-%d", pool.Name, c.slot),`, `fmt.Sprintf("%s-%d-%d", pool.Name, c.slot, time.Now().UnixNano()),`, e2e, "TestI1_TwoLeadersAtOnceStayWithinTheLimit",
	},
	{
		"I1", "the old sandbox is dead before the next is made", "controllers/runner/finalize.go",
		"return dyingSandbox, nil", "return nothingLeft, nil", runner, "TestI1_TheNextSandboxWaitsForTheOldOnesDeath",
	},
	{
		"I1", "a launch looks at the API server first", "controllers/runner/launch.go",
		"if current, err := l.current(ctx); err != nil || !current {", "if _, err := l.current(ctx); err != nil {", runner, "TestI1_AStaleViewLaunchesNothing",
	},
	{
		"I2", "a delivery is answered well only when it is stored", "internal/ingress/webhook.go",
		`http.StatusServiceUnavailable, "failed", "the job could not be stored: deliver again"`, `http.StatusAccepted, "failed", ""`,
		ingress, "TestB60_ADeliveryThatCannotBeStored",
	},
	{
		"I2", "the poll finds what no webhook told", "internal/ingress/poller.go",
		"failures = append(failures, p.record(ctx, q, job))", "_ = q", e2e, "TestB05",
	},
	{
		"I2", "a runner that takes no job does not keep the job waiting", "controllers/runnerpool/plan.go",
		"return !s.now.Before(at), at", "return false, at", runnerpool, "TestPlan",
	},
	{
		"I2", "a dead runner's slot is free", "controllers/runnerpool/runners.go",
		"	case runner.Dead():\n		s.use = dead\n", "", e2e, "TestB27",
	},
	{
		"I2", "what an old delivery tells is confirmed first", "internal/ingress/advance.go",
		"status.Unconfirmed = !seen.Confirmed", "status.Unconfirmed = false", ingress, "TestB62",
	},
	{
		"I2", "one run that GitHub does not tell of hides no other", "internal/github/jobs.go",
		"			failures = append(failures, fault.IgnoreNotFound(err))\n			jobs", "			if err != nil {\n				return nil, err\n			}\n			jobs", ingress, "TestB53",
	},
	{
		"I2", "a job is over only where its repository is visible", "internal/github/jobs.go",
		"hidden(c.seeRuns(ctx, owner, name))", "error(nil)", workflowjob, "TestI2_AJobOfAHiddenRepository",
	},
	{
		"I3", "only webhooks that lead here are healed", "internal/ingress/heal.go",
		"return h.WebhookURL != \"\" && (url == here || strings.HasPrefix(url, here+\"/\"))", "return url != here+\"x\"+strings.ToUpper(here)", ingress, "TestTheDeliveriesOfOthers",
	},
	{
		"I3", "a webhook that was not made here is not removed", "controllers/runnerpool/webhook.go",
		"case made == nil || made.Adopted:", "case made == nil:", runnerpool, "TestAWebhookThatWasThereBefore",
	},
	{
		"I5", "that a webhook is about to be created is stored before", "internal/github/hooks.go",
		"case at < 0 && wish.Intended == wish.URL:", `case at < 0 && wish.Intended != "x":`, runnerpool, "TestThatAWebhookIsAboutToBeCreated",
	},
	{
		"I3", "a Runner has its finalizer from the start", "controllers/runnerpool/runners.go",
		"Finalizers: []string{v1alpha1.RunnerFinalizer},", "", e2e, "TestB30",
	},
	{
		"I3", "what was begun is ended also when its Secret is gone", "internal/credentials/credentials.go",
		"if e.err != nil && e.last != nil && ctx.Value(lastKey{}) != nil {", "if false {", runner, "TestRunnersEndWithCredentialsThatAreGone",
	},
	{
		"I3", "orphans are removed", "controllers/orphan/sweeper.go",
		"return v1alpha1.InstallationOf(name) == s.Installation && !owned[name]", "return false", e2e, "TestB43_WhatNoRunnerOwns",
	},
	{
		"I3", "what others made is told by its mark", "controllers/orphan/sweeper.go",
		"return v1alpha1.InstallationOf(name) == s.Installation && !owned[name]", `return v1alpha1.InstallationOf(name) != "" && !owned[name]`, e2e, "TestB43_WhatNoRunnerOwns",
	},
	{
		"I3", "an orphan was seen in two lists", "controllers/orphan/sightings.go",
		"seen.lists >= 2 && !seen.last.Before(seen.first.Add(grace))", "true", "./controllers/orphan", "TestB43",
	},
	{
		"I4", "GitHub's refusal to remove a busy runner is heeded", "controllers/runner/finalize.go",
		"			return busyRunner, nil", "			return l.terminate(ctx, modal)", runner, "TestB40_ABusyRunner",
	},
	{
		"I4", "a 404 counts only where the scope is visible", "internal/github/runners.go",
		"	if seen != nil {", "	if seen == nil && seen != nil {", runner, "TestI4_ABusyRunner",
	},
	{
		"I8", "what failed is not tried again before its time", "controllers/runner/launch.go",
		"if l.waits = l.waitsToRetry(); l.waits {", "if l.waits = false; l.waits {", runner, "TestI8_AFailedLaunch",
	},
	{
		"I4", "the plan retires no busy runner", "controllers/runnerpool/plan.go",
		"if r.use <= idle && kind(r) {", "if r.use <= busy && kind(r) {", runnerpool, "TestPlanProperties",
	},
	{
		"I5", "the sandbox of an earlier try is adopted by its name", "controllers/runner/launch.go",
		"	id, err := modal.Find(ctx, s.Name)\n	if err == nil {", "	id, err := \"\", error(&fault.Error{Class: fault.NotFound})\n	if err == nil {", runner, "TestB22",
	},
	{
		"I5", "what has no stored ID is found by its name before the Runner goes", "controllers/runner/finalize.go",
		"		id, err := modal.Find(ctx, l.runner.OutsideName())\n		if err != nil {", "		id, err := \"\", error(nil)\n		if err == nil {", runner, "TestI5_ASandboxWhoseIDWasNotStored",
	},
	{
		"I6", "the JIT config goes into the environment alone", "controllers/runner/launch.go",
		"sandbox.Command(template, image.Command)", "append(sandbox.Command(template, image.Command), registered.Config.Reveal())", e2e, "TestB02",
	},
	{
		"I6", "what a sandbox wrote is scrubbed", "controllers/runner/death.go",
		"return scrub.Text(words)", "return words", runner, "TestTheLastWords",
	},
	{
		"I6", "a secret does not print", "internal/credentials/credentials.go",
		`func (Redacted) String() string { return "[redacted]" }`, `func (r Redacted) String() string { return string(r) }`, "./internal/credentials", "TestRedacted",
	},
	{
		"I7", "one credential's calls have a lane of their own", "internal/lanes/queue.go",
		"if lane.used >= q.width {", "if false {", e2e, "TestB52",
	},
	{
		"I7", "a signature moves only pools that trust it", "internal/ingress/record.go",
		"	case pool == nil, !trust(pool), slices", "	case pool == nil, slices", ingress, "TestB61",
	},
	{
		"I7", "a poll moves only pools that ask with the same credentials", "internal/ingress/poller.go",
		"return p.Shard.Holds(pool) && q.trust(pool)", "return p.Shard.Holds(pool)",
		ingress, "TestI7_APollMovesOnly",
	},
	{
		"I7", "what one namespace stores hides nothing from another", "internal/ingress/record.go",
		"if orphaned || pool != nil && trust(pool) {", "if orphaned || pool == nil || pool != nil {", ingress, "TestI7_WhatAnotherNamespace",
	},
	{
		"I7", "a job from a fork has no runner made", "api/v1alpha1/admission.go",
		"job.Spec.Repository) && !p.Spec.AllowForks:", "job.Spec.Repository) && false:", api, "TestWants",
	},
	{
		"I7", "waiting jobs keep their share of a minute", "internal/github/budget.go",
		"own = share.pressed", "own = share.points", github, "TestNoUseTakes",
	},
	{
		"I8", "no minute holds more than GitHub allows", "internal/github/budget.go",
		"		if until.After(now) {", "		if false {", github, "TestB50_NoMinute",
	},
	{
		"I8", "what GitHub did not tell of a job is not asked before its time", "controllers/workflowjob/decide.go",
		"left := r.waitsToAsk(pool, job); left > 0", "left := r.waitsToAsk(pool, job); left < 0", workflowjob, "TestI8_GitHubIsNotAsked",
	},
	{
		"I8", "a delivery that goes on failing is given up", "internal/ingress/healing.go",
		"!f.good && f.asked < healAttempts && ", "!f.good && ", ingress, "TestADeliveryThatGoesOnFailingIsGivenUp",
	},
	{
		"I8", "only a list made after the deadline counts", "controllers/runner/online.go",
		"if !listedAt.After(deadline) {", "if false {", runner, "TestB23",
	},
	{
		"I8", "what a list lacks is asked for, by ID", "controllers/runner/hung.go",
		"	if !seen.listed {\n		gh, err", "	if false {\n		gh, err", runner, "TestB44",
	},
	{
		"I8", "whoever is throttled is quiet", "internal/github/gate.go",
		"	if until.After(g.until) {", "	if false {", github, "TestB50",
	},
	{
		"I8", "attempts wait longer and longer", "controllers/runner/attempt.go",
		"return min(firstBackoff<<min(l.runner.CurrentAttempt()-1, 10), lastBackoff)", "return 0", runner, "TestB28",
	},
	{
		"I2", "a job with a wish waits for no runner made for others", "controllers/runnerpool/plan.go",
		"if usable[job.measured] > 0 {\n			usable[job.measured]--", "if usable[\"\"] > 0 {\n			usable[\"\"]--", runnerpool, "TestPlan",
	},
	{
		"I2", "at the limit a job comes before a warm runner", "controllers/runnerpool/plan.go",
		"min(usable[\"\"], s.minIdle)-s.short(missing, room)", "min(usable[\"\"], s.minIdle)", runnerpool, "TestPlan",
	},
	{
		"I8", "a runner version that GitHub refuses is not tried again", "controllers/runnerpool/image.go",
		"image.RefusedAt = latest", "image.RefusedAt = nil", runnerpool, "TestARefusedRunnerVersion",
	},
	{
		"I8", "an image that cannot be built leaves the one before serving", "api/v1alpha1/attempts.go",
		"!p.Status.Image.Serves(&p.Spec.RunnerTemplate)", "c == nil || c.Status != metav1.ConditionTrue", runnerpool, "TestAnImageServesWhile",
	},
	{
		"I8", "a budget that is spent stops the pool", "controllers/runnerpool/spending.go",
		"if left <= 0 {", "if false {", runnerpool, "TestABudgetThatIsSpent",
	},
	{
		"I8", "in a degraded pool only the probe tries", "controllers/runner/attempt.go",
		"if probes && !l.now.Before(circuit.ProbeAt.Time) {", "if true {", runner, "TestB28",
	},
	{
		"I1", "a pool is let go when nothing is being done for its Runners", "controllers/runnerpool/hold.go",
		"case r.Shard.Acting(key):", "case false:", runnerpool, "TestAPoolChangesHands",
	},
	{
		"I1", "the pool of a shard that is alive is not taken", "controllers/runnerpool/hold.go",
		"if err != nil || !gone {", "if err != nil && !gone {", runnerpool, "TestAPoolChangesHands",
	},
	{
		"I8", "an error of a list changes nothing", "internal/observe/lists.go",
		"		s.nextAt = now.Add(max(l.interval, fault.RetryAfter(err, now, l.interval)))\n		return nil", "		s.nextAt = now.Add(max(l.interval, fault.RetryAfter(err, now, l.interval)))\n		s.items = nil",
		"./internal/observe", "TestAnErrorLeavesWhatIsKnown",
	},
}
