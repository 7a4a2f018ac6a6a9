package chart

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority in caBundle is trusted beside those that the image brings. What the chart mounts and sets is done by hand here; the
// file that stands for the image's is where SSL_CERT_FILE says, since that of this machine is not the test's to change.
func TestAnAuthorityOfOnesOwnIsTrustedBesideThePublicOnes(t *testing.T) {
	var mount, variable string
	for _, pod := range podsOf(t, rendered(t, "--set", "caBundle.configMapName=authorities,caBundle.key=bundle.pem")) {
		if pod.Name != "mrc-modal-runner-controller" {
			continue
		}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			if m.Name == "ca-bundle" {
				mount = m.MountPath
			}
		}
		for _, e := range pod.Spec.Containers[0].Env {
			if strings.HasPrefix(e.Name, "SSL_CERT") {
				variable = e.Name + "=" + e.Value
			}
		}
	}
	if mount == "" || !strings.HasSuffix(variable, "="+mount) {
		t.Fatalf("mounted at %q, and %q", mount, variable)
	}
	public, own := newAuthority(t), newAuthority(t)
	image := filepath.Join(t.TempDir(), "ca-certificates.crt")
	write(t, image, public.pem)
	folder := mountedConfigMap(t, "ca.crt", own.pem)
	for name, test := range map[string]struct {
		signer  *authority
		trusted bool
	}{"public": {public, true}, "own": {own, true}, "another": {newAuthority(t), false}} {
		address := test.signer.serve(t)
		says := firstLine(t, []string{"SSL_CERT_FILE=" + image, strings.Replace(variable, mount, folder, 1)}, "--ping="+address, "--webhook-secret-dir="+t.TempDir())
		if want := map[bool]string{true: "401 Unauthorized: no webhook secret", false: "unknown authority"}[test.trusted]; !strings.Contains(says, want) {
			t.Errorf("%s: %s", name, says)
		}
	}
}

// firstLine that the manager writes; then it is ended, since it would try again what failed.
func firstLine(t *testing.T, environment []string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), manager, arguments...)
	command.Env = environment
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	line, err := bufio.NewReader(reader).ReadString('\n')
	_ = command.Process.Kill()
	_ = command.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// mountedConfigMap is a folder as Kubernetes mounts one: files are links into a folder that is a link itself.
func mountedConfigMap(t *testing.T, name string, text []byte) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "..2026_11_25"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "..2026_11_25", name), text)
	for link, to := range map[string]string{"..data": "..2026_11_25", name: "..data/" + name} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// authority that signs itself.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// serve what a receiver without secrets answers, over TLS.
func (a *authority) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		http.Error(out, "no webhook secret is configured: nothing can be accepted", http.StatusUnauthorized)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{a.certificate.Raw}, PrivateKey: a.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}
