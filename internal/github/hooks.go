package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// event that a webhook has to deliver.
const jobEvent = "workflow_job"

// Hook is a webhook of a repository or an organization.
type Hook struct {
	ID  int64
	URL string
	// good says that it delivers what it should, as it should.
	good bool
}

func hookFrom(h *gh.Hook) Hook {
	config := h.GetConfig()
	return Hook{
		ID: h.GetID(), URL: config.GetURL(),
		good: h.GetActive() && config.GetContentType() == "json" && config.GetInsecureSSL() == "0" &&
			(slices.Contains(h.Events, jobEvent) || slices.Contains(h.Events, "*")),
	}
}

// HookWish is the webhook that there should be.
type HookWish struct {
	// ID of the webhook that was made for it, 0 when none is known.
	ID     int64
	URL    string
	Secret credentials.Redacted
	// SecretSet says that GitHub has this secret already: it never tells the one that it has.
	SecretSet bool
	// Intended is the URL with which one may have been created, whose ID is not known; empty when none can have been. One is
	// created only where it is URL: whoever wishes has to have stored before that it is.
	Intended string
}

// EnsuredHook is what there is of the webhook that was wished for.
type EnsuredHook struct {
	// ID of the webhook, 0 when there is none and it was not intended yet to create one.
	ID int64
	// Adopted says that it has the URL and was not made for the wish.
	Adopted bool
}

// EnsureHook creates or repairs a webhook. One that was made for the wish is known by its ID, or by the URL with which it was
// intended, so that the answer to a creation may be lost.
func (c *Client) EnsureHook(ctx context.Context, scope Scope, wish HookWish) (EnsuredHook, error) {
	hooks, err := c.Hooks(ctx, scope)
	if err != nil {
		return EnsuredHook{}, err
	}
	wanted := &gh.Hook{
		Events: []string{jobEvent}, Active: gh.Bool(true),
		Config: &gh.HookConfig{
			URL: &wish.URL, ContentType: gh.String("json"), InsecureSSL: gh.String("0"), Secret: gh.String(wish.Secret.Reveal()),
		},
	}
	at := slices.IndexFunc(hooks, func(h Hook) bool { return h.ID == wish.ID })
	if at < 0 && wish.Intended != "" {
		at = slices.IndexFunc(hooks, func(h Hook) bool { return h.URL == wish.Intended })
	}
	adopted := at < 0
	if adopted {
		at = slices.IndexFunc(hooks, func(h Hook) bool { return h.URL == wish.URL })
	}
	switch {
	case at < 0 && wish.Intended == wish.URL:
		id, err := c.createHook(ctx, scope, wanted)
		return EnsuredHook{ID: id}, err
	case at < 0:
		return EnsuredHook{}, nil
	}
	found := hooks[at]
	if !found.good || found.URL != wish.URL || !wish.SecretSet {
		err = c.editHook(ctx, scope, found.ID, wanted)
	}
	return EnsuredHook{ID: found.ID, Adopted: adopted}, err
}

func (c *Client) editHook(ctx context.Context, scope Scope, id int64, wanted *gh.Hook) error {
	return c.do(ctx, editHook, func(ctx context.Context) (resp *gh.Response, err error) {
		if scope.Repository != "" {
			_, resp, err = c.rest.Repositories.EditHook(ctx, scope.Owner, scope.Repository, id, wanted)
		} else {
			_, resp, err = c.rest.Organizations.EditHook(ctx, scope.Owner, id, wanted)
		}
		return resp, err
	})
}

func (c *Client) createHook(ctx context.Context, scope Scope, wanted *gh.Hook) (int64, error) {
	var made *gh.Hook
	err := c.do(ctx, createHook, func(ctx context.Context) (resp *gh.Response, err error) {
		if scope.Repository != "" {
			made, resp, err = c.rest.Repositories.CreateHook(ctx, scope.Owner, scope.Repository, wanted)
		} else {
			made, resp, err = c.rest.Organizations.CreateHook(ctx, scope.Owner, wanted)
		}
		return resp, err
	})
	return made.GetID(), err
}

// FindHook by the URL that it delivers to. NotFound when there is none.
func (c *Client) FindHook(ctx context.Context, scope Scope, url string) (int64, error) {
	hooks, err := c.Hooks(ctx, scope)
	if err != nil {
		return 0, hidden(err)
	}
	at := slices.IndexFunc(hooks, func(h Hook) bool { return h.URL == url })
	if at < 0 {
		return 0, &fault.Error{Op: listHooks.name, Class: fault.NotFound, Message: "there is no webhook that delivers to " + url}
	}
	return hooks[at].ID, nil
}

// DeleteHook removes a webhook. NotFound when it is gone already.
func (c *Client) DeleteHook(ctx context.Context, scope Scope, id int64) error {
	return c.do(ctx, deleteHook, func(ctx context.Context) (*gh.Response, error) {
		if scope.Repository != "" {
			return c.rest.Repositories.DeleteHook(ctx, scope.Owner, scope.Repository, id)
		}
		return c.rest.Organizations.DeleteHook(ctx, scope.Owner, id)
	})
}

// Hooks of a repository or an organization.
func (c *Client) Hooks(ctx context.Context, scope Scope) ([]Hook, error) {
	var found []Hook
	err := c.do(ctx, listHooks, func(ctx context.Context) (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (resp *gh.Response, err error) {
			var list []*gh.Hook
			if scope.Repository != "" {
				list, resp, err = c.rest.Repositories.ListHooks(ctx, scope.Owner, scope.Repository, &opts)
			} else {
				list, resp, err = c.rest.Organizations.ListHooks(ctx, scope.Owner, &opts)
			}
			for _, h := range list {
				found = append(found, hookFrom(h))
			}
			return resp, err
		})
	})
	return found, err
}

// Source of deliveries: a webhook of a repository or an organization, or that of the App whose credentials are used.
type Source struct {
	Scope Scope
	// Hook is the ID of the webhook, 0 for the App's.
	Hook int64
	// App is the ID of the App.
	App int64
}

// String names the source for messages.
func (s Source) String() string {
	if s.App != 0 {
		return fmt.Sprintf("App %d at %s", s.App, s.Scope.Server)
	}
	return fmt.Sprintf("webhook %d of %s", s.Hook, s.Scope)
}

// Delivery is one attempt to deliver an event.
type Delivery struct {
	ID int64
	// GUID is the same for all attempts.
	GUID  string
	At    time.Time
	Event string
	// Again says that it was asked for, after an earlier attempt.
	Again bool
	// Good says that it was answered with success.
	Good bool
}

// AppHook gives the App whose credentials are used and the URL of its webhook, an empty one when it has none. Credentials
// that are no App's are NotFound.
func (c *Client) AppHook(ctx context.Context) (app int64, url string, err error) {
	if c.asApp == nil {
		return 0, "", &fault.Error{Op: listHooks.name, Class: fault.NotFound, Message: "the credentials are not those of an App"}
	}
	var config *gh.HookConfig
	err = c.asApp.self.do(ctx, listHooks, func(ctx context.Context) (resp *gh.Response, err error) {
		config, resp, err = c.asApp.self.rest.Apps.GetHookConfig(ctx)
		return resp, err
	})
	return c.asApp.id, config.GetURL(), fault.IgnoreNotFound(err)
}

// callerFor a source: an App's own webhook is for the App itself.
func (c *Client) callerFor(source Source) *Client {
	if source.App != 0 {
		return c.asApp.self
	}
	return c
}

// Deliveries of workflow_job events since a time, the latest first, of at most so many pages of a hundred. They begin at a
// cursor, with the latest of all when it is empty. When there are more than these pages hold, the cursor at which to go on is
// given.
func (c *Client) Deliveries(ctx context.Context, source Source, since time.Time, cursor string, most int) ([]Delivery, string, error) {
	var found []Delivery
	for range most {
		page, next, err := c.deliveriesPage(ctx, source, cursor)
		if err != nil {
			return nil, "", err
		}
		for _, d := range page {
			if d.GetDeliveredAt().Before(since) {
				return found, "", nil
			}
			if d.GetEvent() == jobEvent {
				found = append(found, Delivery{
					ID: d.GetID(), GUID: d.GetGUID(), At: d.GetDeliveredAt().Time, Event: d.GetEvent(), Again: d.GetRedelivery(),
					Good: d.GetStatusCode() >= http.StatusOK && d.GetStatusCode() < http.StatusMultipleChoices,
				})
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return found, cursor, nil
}

func (c *Client) deliveriesPage(ctx context.Context, source Source, cursor string) (page []*gh.HookDelivery, next string, err error) {
	caller, opts := c.callerFor(source), &gh.ListCursorOptions{PerPage: pageSize, Cursor: cursor}
	err = caller.do(ctx, listDelivered, func(ctx context.Context) (resp *gh.Response, err error) {
		switch {
		case source.App != 0:
			page, resp, err = caller.rest.Apps.ListHookDeliveries(ctx, opts)
		case source.Scope.Repository != "":
			page, resp, err = c.rest.Repositories.ListHookDeliveries(ctx, source.Scope.Owner, source.Scope.Repository, source.Hook, opts)
		default:
			page, resp, err = c.rest.Organizations.ListHookDeliveries(ctx, source.Scope.Owner, source.Hook, opts)
		}
		if resp != nil {
			next = resp.Cursor
		}
		return resp, err
	})
	return page, next, err
}

// Redeliver asks for a delivery to be made again.
func (c *Client) Redeliver(ctx context.Context, source Source, id int64) error {
	caller := c.callerFor(source)
	return caller.do(ctx, redeliver, func(ctx context.Context) (resp *gh.Response, err error) {
		switch {
		case source.App != 0:
			_, resp, err = caller.rest.Apps.RedeliverHookDelivery(ctx, id)
		case source.Scope.Repository != "":
			_, resp, err = c.rest.Repositories.RedeliverHookDelivery(ctx, source.Scope.Owner, source.Scope.Repository, source.Hook, id)
		default:
			_, resp, err = c.rest.Organizations.RedeliverHookDelivery(ctx, source.Scope.Owner, source.Hook, id)
		}
		var accepted *gh.AcceptedError
		if errors.As(err, &accepted) {
			// That it is under way (202) is an error to go-github.
			err = nil
		}
		return resp, err
	})
}
