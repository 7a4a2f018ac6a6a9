package ui

import (
	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// nothingToDo is the advice where all goes on by itself, or where the message has it.
const nothingToDo = ""

// advice says what to do about a reason, in short; docs/operations.md says it at length. Every reason of the API is in it.
var advice = map[string]string{
	v1alpha1.ReasonSecretNotFound:       "Create the Secret that the message names. It is read again within seconds.",
	v1alpha1.ReasonSecretInvalid:        "Mend the Secret that the message names. It is read again within seconds.",
	v1alpha1.ReasonUnauthorized:         "Replace the credential in the Secret.",
	v1alpha1.ReasonForbidden:            "Grant the credential the permission that the message names.",
	v1alpha1.ReasonReferenceNotFound:    "Create at Modal what the message names, or correct spec.sandbox.",
	v1alpha1.ReasonImageNotFound:        "Correct spec.image.id. An image that is built here is built again by itself.",
	v1alpha1.ReasonRunnerGroupNotFound:  "Create the runner group at GitHub, or correct spec.runnerGroup.",
	v1alpha1.ReasonURLUnknown:           "Set the manager's --webhook-url, or spec.webhook.url.",
	v1alpha1.ReasonDailyBudgetSpent:     "Raise spec.budget.perDay, or wait for the next day (UTC).",
	v1alpha1.ReasonThrottled:            "Nothing: it goes on at the time in the message.",
	v1alpha1.ReasonBudgetLow:            "Nothing, or give the pool a credential of its own.",
	v1alpha1.ReasonUnreachable:          "Check the other side's status page and the cluster's way out. It is tried again by itself.",
	v1alpha1.ReasonRefused:              "Change what the message says is refused.",
	v1alpha1.ReasonBuildFailed:          "Read what the build said last and correct spec.image. It is tried again at once when the spec changes.",
	v1alpha1.ReasonAttemptsFailed:       "Read the latest failure and its log. One runner at a time tries again by itself.",
	v1alpha1.ReasonSuspended:            "Set spec.suspend to false when the pool is to go on.",
	v1alpha1.ReasonUnserved:             "Start a shard whose --pool-selector matches the pool's labels, or change them.",
	v1alpha1.ReasonDeleting:             "Wait for the Runners to end.",
	v1alpha1.ReasonRunnerVersionRefused: "Set image.runnerVersion to latest, or to a newer version.",

	v1alpha1.ReasonOutOfMemory:           nothingToDo,
	v1alpha1.ReasonSandboxTimeout:        nothingToDo,
	v1alpha1.ReasonSandboxInitFailed:     "See that the image has the runner program and what it needs.",
	v1alpha1.ReasonRunnerCrashed:         "Read the log: the runner program ended with a failure.",
	v1alpha1.ReasonStartupTimeout:        "Read the log. Raise spec.startupTimeout if the image takes longer to start.",
	v1alpha1.ReasonSandboxTerminated:     "Somebody else terminated the sandbox: see Modal's dashboard.",
	v1alpha1.ReasonAttemptsExhausted:     "Nothing: the Runner is replaced. Read the log of its last failure.",
	v1alpha1.ReasonPublicRepository:      "Nothing, or set spec.allowPublicRepositories.",
	v1alpha1.ReasonFork:                  "Nothing, or set spec.allowForks.",
	v1alpha1.ReasonWishRefused:           "Change the job's labels, or widen spec.wishes.",
	v1alpha1.ReasonRunnerOffline:         "Nothing: it is replaced. If it repeats, see what sandbox.network lets through.",
	v1alpha1.ReasonSandboxEnded:          "Read the log: the runner program ended without a job.",
	v1alpha1.ReasonRunnerGone:            nothingToDo,
	v1alpha1.ReasonRunnerDeaf:            nothingToDo,
	v1alpha1.ReasonOutlivedJob:           nothingToDo,
	v1alpha1.ReasonInfrastructureFailure: nothingToDo,
	v1alpha1.ReasonSandboxLost:           nothingToDo,
	v1alpha1.ReasonNameTaken:             nothingToDo,
	v1alpha1.ReasonUndecided:             nothingToDo,
	v1alpha1.ReasonBuilding:              nothingToDo,
	v1alpha1.ReasonWaiting:               nothingToDo,
	v1alpha1.ReasonChecking:              nothingToDo,
	v1alpha1.ReasonStarting:              nothingToDo,
	v1alpha1.ReasonBackoff:               nothingToDo,
	v1alpha1.ReasonPoolNotReady:          nothingToDo,
	v1alpha1.ReasonPoolDegraded:          nothingToDo,
	v1alpha1.ReasonReady:                 nothingToDo,
	v1alpha1.ReasonLaunched:              nothingToDo,
	v1alpha1.ReasonOnline:                nothingToDo,
	v1alpha1.ReasonBudgetLeft:            nothingToDo,
	v1alpha1.ReasonBudgetSufficient:      nothingToDo,
	v1alpha1.ReasonAttemptsSucceed:       nothingToDo,
}

// passing reasons end by themselves: nothing is broken.
var passing = map[string]bool{
	v1alpha1.ReasonBuilding: true, v1alpha1.ReasonWaiting: true, v1alpha1.ReasonChecking: true, v1alpha1.ReasonThrottled: true,
	v1alpha1.ReasonBudgetLow: true, v1alpha1.ReasonDailyBudgetSpent: true,
}

// toneOfWait is how a job stands that waits for a reason.
func toneOfWait(reason string) Tone {
	switch reason {
	case queue.ReasonNeedsApproval, queue.ReasonSuspended:
		return ToneOff
	case queue.ReasonRunnerOnline, queue.ReasonRunnerBusy, queue.ReasonRunnerStarting, queue.ReasonRunnerPending, queue.ReasonRunnerToBeMade:
		return ToneBusy
	case queue.ReasonPoolFull, queue.ReasonUndecided:
		return ToneWait
	}
	return ToneBad
}
