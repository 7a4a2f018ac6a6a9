package modal

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// secret is a set of environment variables: named, or ephemeral, as the SDK makes one for each Env.
type secret struct {
	id, name    string
	environment string
	values      map[string]string
}

// maxEnvString is the longest "NAME=value" that Linux passes to a program (MAX_ARG_STRLEN, execve(2)).
const maxEnvString = 131072

var validEnvName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// AddSecret to the default environment, or replace it.
func (s *Server) AddSecret(name string, values map[string]string) {
	s.AddSecretIn(defaultEnvironment, name, values)
}

// AddSecretIn adds a secret to an environment that exists, or replaces it. It gives the secret's ID.
func (s *Server) AddSecretIn(environmentName, name string, values map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	env, err := s.environment(environmentName)
	if err != nil {
		panic(err)
	}
	return s.putSecret(env, name, values).id
}

// putSecret under the lock; a secret that exists keeps its ID.
func (s *Server) putSecret(env *environment, name string, values map[string]string) *secret {
	if existing := env.secrets[name]; existing != nil {
		existing.values = maps.Clone(values)
		return existing
	}
	made := &secret{id: s.ids.next("st"), name: name, environment: env.name, values: maps.Clone(values)}
	s.secrets[made.id] = made
	if name != "" {
		env.secrets[name] = made
	}
	return made
}

func checkEnvDict(values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !validEnvName.MatchString(name):
			return invalid("Invalid environment variable name: '%s'", name)
		case strings.ContainsRune(values[name], 0):
			return invalid("The value of environment variable '%s' contains a null byte", name)
		case len(name)+1+len(values[name]) >= maxEnvString:
			return invalid("The value of environment variable '%s' is too long", name)
		}
	}
	return nil
}

// SecretGetOrCreate finds a secret by name, or makes one. Source: SecretService in the SDK's secret.go.
func (c *control) SecretGetOrCreate(_ context.Context, req *pb.SecretGetOrCreateRequest) (*pb.SecretGetOrCreateResponse, error) {
	if err := checkEnvDict(req.GetEnvDict()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	found, err := c.getOrCreateSecret(env, req)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, key := range req.GetRequiredKeys() {
		if _, ok := found.values[key]; !ok {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret is missing key(s): %s", strings.Join(missing, ", "))
	}
	return pb.SecretGetOrCreateResponse_builder{SecretId: found.id}.Build(), nil
}

func (c *control) getOrCreateSecret(env *environment, req *pb.SecretGetOrCreateRequest) (*secret, error) {
	name, kind := req.GetDeploymentName(), req.GetObjectCreationType()
	if kind == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL {
		if name != "" {
			return nil, invalid("an ephemeral Secret cannot have a name")
		}
		return c.putSecret(env, "", req.GetEnvDict()), nil
	}
	if err := checkName("Secret", name); err != nil {
		return nil, err
	}
	found := env.secrets[name]
	switch kind {
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_UNSPECIFIED:
		if found == nil {
			return nil, notFound("Secret '%s' not found in environment '%s'", name, env.name)
		}
		return found, nil
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
		if found != nil {
			return found, nil
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
		if found != nil {
			return nil, status.Errorf(codes.AlreadyExists, "Secret '%s' already exists", name)
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
	default:
		return nil, invalid("secrets cannot be created with %s", kind)
	}
	return c.putSecret(env, name, req.GetEnvDict()), nil
}

// SecretDelete removes a secret; sandboxes that have its values keep them.
func (c *control) SecretDelete(_ context.Context, req *pb.SecretDeleteRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.secrets[req.GetSecretId()]
	if found == nil {
		return nil, notFound("Secret '%s' not found", req.GetSecretId())
	}
	delete(c.secrets, found.id)
	if found.name != "" {
		delete(c.environments[found.environment].secrets, found.name)
	}
	return &emptypb.Empty{}, nil
}

// mergeSecrets gives the values of secrets, later ones winning, under the lock.
func (s *Server) mergeSecrets(ids []string) (map[string]string, error) {
	merged := map[string]string{}
	for _, id := range ids {
		found := s.secrets[id]
		if found == nil {
			return nil, notFound("Secret '%s' not found", id)
		}
		maps.Copy(merged, found.values)
	}
	return merged, nil
}
