package install

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// request of a ServiceAccount, as the API server noted it.
type request struct {
	User, Verb, Namespace, Group, Resource, Path string
	Denied                                       bool
}

func (r request) String() string {
	if r.Resource == "" {
		return r.Verb + " " + r.Path
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %s.%s", r.Verb, r.Resource, r.Group), ".")
}

// auditSize is how much the API server has noted.
func auditSize() int64 {
	info, err := os.Stat(auditLog)
	if err != nil {
		return 0
	}
	return info.Size()
}

// requests of a ServiceAccount since a place in the audit log.
func (w *world) requests(user string, since int64) []request {
	w.t.Helper()
	file, err := os.Open(auditLog)
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	_, err = file.Seek(since, io.SeekStart)
	w.Expect(err).NotTo(HaveOccurred())
	var found []request
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return found // the last line may be half written
		}
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ObjectRef        struct{ Resource, Subresource, APIGroup, Namespace string }
			Annotations      map[string]string
		}
		w.Expect(json.Unmarshal(line, &event)).To(Succeed())
		if event.User.Username != user {
			continue
		}
		path, _, _ := strings.Cut(event.RequestURI, "?")
		found = append(found, request{
			User: user, Verb: event.Verb, Namespace: event.ObjectRef.Namespace, Group: event.ObjectRef.APIGroup, Path: path,
			Resource: strings.TrimSuffix(event.ObjectRef.Resource+"/"+event.ObjectRef.Subresource, "/"),
			Denied:   event.Annotations["authorization.k8s.io/decision"] == "forbid",
		})
	}
}

// denied requests of a ServiceAccount since a place in the audit log, each once.
func (w *world) denied(user string, since int64) []string {
	w.t.Helper()
	denied := map[string]bool{}
	for _, r := range w.requests(user, since) {
		if r.Denied {
			denied[fmt.Sprintf("%s in namespace %q", r, r.Namespace)] = true
		}
	}
	return slices.Sorted(maps.Keys(denied))
}

// grant of one verb on one resource, in one namespace or in all.
type grant struct{ role, namespace, group, resource, verb string }

func (g grant) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s: %s %s.%s", g.role, g.verb, g.resource, g.group), ".")
}

func (g grant) allows(r request) bool {
	return !r.Denied && g.verb == r.Verb && g.resource == r.Resource && g.group == r.Group && (g.namespace == "" || g.namespace == r.Namespace)
}

// grants of a ServiceAccount, as the API server has them.
func (w *world) grants(user string) []grant {
	w.t.Helper()
	parts := strings.Split(user, ":")
	isUser := func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == parts[2] && s.Name == parts[3]
	}
	var all []grant
	var everywhere rbacv1.ClusterRoleBindingList
	w.Expect(plane.Client.List(w.ctx, &everywhere)).To(Succeed())
	for _, b := range everywhere.Items {
		if slices.ContainsFunc(b.Subjects, isUser) {
			var role rbacv1.ClusterRole
			w.Expect(plane.Client.Get(w.ctx, client.ObjectKey{Name: b.RoleRef.Name}, &role)).To(Succeed())
			all = append(all, expand(role.Name, "", role.Rules)...)
		}
	}
	var somewhere rbacv1.RoleBindingList
	w.Expect(plane.Client.List(w.ctx, &somewhere)).To(Succeed())
	for _, b := range somewhere.Items {
		if slices.ContainsFunc(b.Subjects, isUser) {
			w.Expect(b.RoleRef.Kind).To(Equal("Role"), b.Name)
			var role rbacv1.Role
			w.Expect(plane.Client.Get(w.ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.RoleRef.Name}, &role)).To(Succeed())
			all = append(all, expand(role.Name, b.Namespace, role.Rules)...)
		}
	}
	return all
}

func expand(role, namespace string, rules []rbacv1.PolicyRule) []grant {
	var all []grant
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, grant{role, namespace, group, resource, verb})
				}
			}
		}
	}
	return all
}

// unused grants of a ServiceAccount since a place in the audit log. Of a role that is in several namespaces, one is enough.
func (w *world) unused(user string, since int64) []string {
	w.t.Helper()
	requests := w.requests(user, since)
	used := map[string]bool{}
	for _, g := range w.grants(user) {
		used[g.String()] = used[g.String()] || slices.ContainsFunc(requests, g.allows)
	}
	var unused []string
	for _, g := range slices.Sorted(maps.Keys(used)) {
		if !used[g] {
			unused = append(unused, g)
		}
	}
	return unused
}
