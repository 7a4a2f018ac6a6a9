// Package modaljs runs a suite against the simulator of Modal with Modal's own JavaScript SDK, so that the simulator is not
// only what the Go SDK expects of it. The suite is *.test.mjs beside this file.
package modaljs

import (
	"path/filepath"
	"testing"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

const tokenID, tokenSecret = "ak-javascript", "as-javascript"

// pageSize is less than the suite's longest list has, and window less than its longest output takes.
const (
	pageSize = 3
	window   = 300 * time.Millisecond
)

func TestSuite(t *testing.T) {
	folder := install(t)
	server := newServer(t)
	faults := addFaults(server)
	results := node(t, folder, server.URL())
	for _, result := range results {
		t.Run(result.name, func(t *testing.T) { result.report(t) })
	}
	t.Run("every option has arrived", func(t *testing.T) { everyOptionHasArrived(t, server) })
	t.Run("every fault has happened", func(t *testing.T) {
		for name, fault := range faults {
			NewWithT(t).Expect(fault.active.Hits()).To(Equal(fault.times), name)
		}
	})
	t.Run("what is asked again is done once", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(named(server, "lost-answer")).To(HaveLen(1))
		g.Expect(named(server, "over-the-limit")).To(BeEmpty())
	})
	t.Run("every image is built as the environment says", func(t *testing.T) {
		NewWithT(t).Expect(server.Images()).To(And(Not(BeEmpty()), HaveEach(HaveField("BuilderVersion", "2025.06"))))
	})
	t.Run("every sandbox has ended", func(t *testing.T) {
		NewWithT(t).Expect(server.Alive(nil)).To(BeEmpty())
	})
}

// newServer with all that the suite looks for. Its commands are processes of this machine.
func newServer(t *testing.T) *modalsim.Server {
	t.Helper()
	server := modalsim.New(modalsim.Options{
		Run: modalsim.Process(onThisMachine), Exec: modalsim.Process(onThisMachine),
		ImageBuildTime: 10 * time.Millisecond, PageSize: pageSize, Window: window,
	})
	NewWithT(t).Expect(server.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(server.Close)
	server.AddToken(tokenID, tokenSecret)
	server.AddEnvironment("staging")
	server.AddProxy("egress")
	server.AddSecret("plain", map[string]string{"USER_NAME": "robot"})
	server.AddSecret("to-be-deleted", map[string]string{})
	server.AddSecret("registry-right", map[string]string{"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "pw"})
	server.AddSecret("registry-wrong", map[string]string{"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "no"})
	server.AddPrivateImage("registry.example.com/team/runner:1", "robot", "pw")
	server.AddPrivateImage("1.dkr.ecr.us-east-1.amazonaws.com/runner:1", "AKIA1", "key")
	server.AddPrivateImage("us-east1-docker.pkg.dev/p/r/runner:1", "_json_key", `{"type":"service_account"}`)
	return server
}

func onThisMachine(c modalsim.Container) (string, []string) {
	return filepath.Join("/bin", filepath.Base(c.Command[0])), c.Command[1:]
}

// fault that must have happened so often when the suite has ended.
type fault struct {
	active *modalsim.ActiveFault
	times  int
}

// addFaults that retry.test.mjs is about. Streams cannot be told apart: the first ones of the suite break, whose they are.
func addFaults(server *modalsim.Server) map[string]fault {
	faults := map[string]fault{}
	add := func(name string, times int, f modalsim.Fault) {
		f.Times = times
		faults[name] = fault{server.Faults().Add(f), times}
	}
	creates := func(name string) func(proto.Message) bool {
		return func(req proto.Message) bool { return req.(*pb.SandboxCreateRequest).GetDefinition().GetName() == name }
	}
	add("lost answer", 2, modalsim.Fault{Method: "SandboxCreate", DropAnswer: true, Match: creates("lost-answer")})
	add("unavailable", 3, modalsim.Fault{Method: "SandboxCreate", Code: codes.Unavailable, Match: creates("unavailable")})
	add("limit", 1, modalsim.Fault{
		Method: "SandboxCreate", Code: codes.ResourceExhausted, Message: "spend limit reached", Match: creates("over-the-limit"),
	})
	add("lost answer of a sandbox's input", 1, modalsim.Fault{
		Method: "SandboxStdinWrite", DropAnswer: true,
		Match: func(req proto.Message) bool {
			return string(req.(*pb.SandboxStdinWriteRequest).GetInput()) == "lost-input"
		},
	})
	add("lost answer of a start", 2, modalsim.Fault{
		Method: "TaskExecStart", DropAnswer: true,
		Match: func(req proto.Message) bool {
			args := req.(*pb.TaskExecStartRequest).GetCommandArgs()
			return len(args) == 3 && args[2] == "echo started; cat # lost-exec"
		},
	})
	add("lost answer of a command's input", 1, modalsim.Fault{
		Method: "TaskExecStdinWrite", DropAnswer: true,
		Match: func(req proto.Message) bool {
			return string(req.(*pb.TaskExecStdinWriteRequest).GetData()) == "lost-input"
		},
	})
	add("broken log", 2, modalsim.Fault{Method: "SandboxGetLogs", Code: codes.Unavailable})
	add("broken output", 2, modalsim.Fault{Method: "TaskExecStdioRead", Code: codes.Unavailable})
	return faults
}

func named(server *modalsim.Server, name string) []modalsim.Sandbox {
	return server.Select(func(sb modalsim.Sandbox) bool { return sb.Name == name })
}
