package modal_test

import (
	"slices"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestWrongTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	for credential, message := range map[[2]string]string{
		{tokenID, "as-wrong"}:      "Token validation failed",
		{"ak-nobody", tokenSecret}: "Token not found",
		{"nobody", tokenSecret}:    "Token ID is malformed",
	} {
		client := w.clientWith(credential[0], credential[1])
		_, err := client.Apps.FromName(w.ctx, "ci", &sdk.AppFromNameParams{CreateIfMissing: true})
		w.Expect(err).To(MatchError(ContainSubstring(message)))
		w.Expect(err).To(MatchError(ContainSubstring("Unauthenticated")))
	}
	w.Expect(w.server.Calls()["AuthTokenGet"]).To(Equal(map[string]int{"Unauthenticated": 3}))
}

func TestRevokedTokenLosesItsAuthTokenToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	w.app("ci")
	w.server.RevokeToken(tokenID)
	_, err := w.client.Apps.FromName(w.ctx, "ci", nil)
	w.Expect(status.Code(err)).To(Equal(codes.Unauthenticated))
	w.server.AddToken(tokenID, tokenSecret)
	w.app("ci")
}

func TestUnaryCallsNeedAValidAuthToken(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, modalsim.Options{TokenClock: fake})
	w.server.AddToken("ak-other", "as-other")
	list := func(client pb.ModalClientClient) codes.Code {
		_, err := client.SandboxList(w.ctx, &pb.SandboxListRequest{})
		return status.Code(err)
	}
	w.Expect(list(w.raw(credentials...))).To(Equal(codes.Unauthenticated))
	answer, err := w.raw(credentials...).AuthTokenGet(w.ctx, &pb.AuthTokenGetRequest{})
	w.Expect(err).NotTo(HaveOccurred())
	with := func(token string, headers ...string) pb.ModalClientClient {
		return w.raw(append([]string{"x-modal-auth-token", token}, headers...)...)
	}
	w.Expect(list(with(answer.GetToken(), credentials...))).To(Equal(codes.OK))
	w.Expect(list(with(answer.GetToken()+"x", credentials...))).To(Equal(codes.Unauthenticated))
	other := append(slices.Clone(credentials[:4]), "x-modal-token-id", "ak-other", "x-modal-token-secret", "as-other")
	w.Expect(list(with(answer.GetToken(), other...))).To(Equal(codes.Unauthenticated), "it is another token's")
	w.Expect(list(with(answer.GetToken(), credentials[4:]...))).To(Equal(codes.InvalidArgument), "no client type")
	fake.SetTime(fake.Now().Add(20 * time.Minute))
	w.Expect(list(with(answer.GetToken(), credentials...))).To(Equal(codes.Unauthenticated), "it has expired")
}

func TestStreamsNeedNoAuthTokenButNoWrongOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: exitWith(0)})
	sb := w.mustCreate(w.app("ci"))
	read := func(headers ...string) codes.Code {
		ctx := metadata.AppendToOutgoingContext(w.ctx, headers...)
		stream, err := w.streaming().SandboxGetLogs(ctx, pb.SandboxGetLogsRequest_builder{SandboxId: sb.SandboxID, Timeout: 5}.Build())
		w.Expect(err).NotTo(HaveOccurred())
		_, err = stream.Recv()
		return status.Code(err)
	}
	w.Expect(read()).To(Equal(codes.OK))
	answer, err := w.raw(credentials...).AuthTokenGet(w.ctx, &pb.AuthTokenGetRequest{})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(read("x-modal-auth-token", answer.GetToken())).To(Equal(codes.OK))
	w.Expect(read("x-modal-auth-token", "x")).To(Equal(codes.Unauthenticated))
}

func TestClientRefreshesItsAuthToken(t *testing.T) {
	t.Parallel()
	// The SDK asks anew within five minutes of the expiry.
	w := newWorld(t, modalsim.Options{AuthTokenLife: 4 * time.Minute})
	w.app("ci")
	w.app("ci")
	w.Expect(w.server.CallCount("AuthTokenGet")).To(Equal(2))
}

func TestOtherMethodsAreUnimplemented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	_, err := w.authenticated().QueueGetOrCreate(w.ctx, &pb.QueueGetOrCreateRequest{})
	w.Expect(status.Code(err)).To(Equal(codes.Unimplemented))
}

func TestServerKeepsItsStateOverAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	sb := w.mustCreate(w.app("ci"))
	w.server.StopServing()
	_, err := sb.Poll(w.ctx)
	w.Expect(status.Code(err)).To(Equal(codes.Unavailable))
	w.Expect(w.server.Start(w.server.URL()[len("http://"):])).To(Succeed())
	w.Eventually(w.poll(sb)).Should(BeNil())
	w.Expect(w.server.Alive(nil)).To(HaveLen(1))
}
