// Command rules prints the rules of the ClusterRoles on standard input that are about the project's kinds, one a line.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(os.Stdin), 4096)
	for {
		var role rbacv1.ClusterRole
		err := decoder.Decode(&role)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if role.Kind != "ClusterRole" || !isAboutProject(role) {
			continue
		}
		for _, rule := range role.Rules {
			fmt.Println(rule.APIGroups, rule.Resources, rule.Verbs)
		}
	}
}

func isAboutProject(role rbacv1.ClusterRole) bool {
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			if group == "modalrunner.dev" {
				return true
			}
		}
	}
	return false
}
