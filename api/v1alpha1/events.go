package v1alpha1

// Reasons of events that are no reason of a condition or problem. The other events have the reason of what has changed.
const (
	// EventDegraded: runners of the pool fail to start, and one at a time is tried from now on.
	EventDegraded = "Degraded"
	// EventRecovered: a runner of the pool came online, and it is degraded no more.
	EventRecovered = "Recovered"
	// EventWebhookLeft: the webhook that the pool made is left at GitHub, and is to be removed by hand.
	EventWebhookLeft = "WebhookLeft"
	// EventOrphanRemoved: a sandbox or registration that no Runner owned was removed.
	EventOrphanRemoved = "OrphanRemoved"
	// EventForceDeleted: a sandbox was terminated, whatever ran in it, as the operator asked.
	EventForceDeleted = "ForceDeleted"
	// EventLetGo: a Runner was removed although GitHub or Modal did not say that what it had there is gone.
	EventLetGo = "LetGo"
)
