package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubelet runs the Jobs of a namespace as a cluster would: each one's program, with its arguments, its ConfigMaps, and the token of
// its ServiceAccount, whose rights are the chart's.
type kubelet struct {
	t         *testing.T
	namespace string

	mu   sync.Mutex
	seen map[types.UID]bool
	log  strings.Builder
}

func startKubelet(t *testing.T, namespace string) *kubelet {
	t.Helper()
	k := &kubelet{t: t, namespace: namespace, seen: map[types.UID]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(often) {
			var jobs batchv1.JobList
			if cluster.List(ctx, &jobs, client.InNamespace(namespace)) != nil {
				continue
			}
			for i := range jobs.Items {
				if job := jobs.Items[i]; !k.seen[job.UID] {
					k.seen[job.UID] = true
					all.Go(func() { k.run(ctx, &job) })
				}
			}
		}
	})
	t.Cleanup(func() {
		stop()
		all.Wait()
	})
	return k
}

// said is what all Jobs wrote.
func (k *kubelet) said() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.String()
}

func (k *kubelet) run(ctx context.Context, job *batchv1.Job) {
	folder, err := os.MkdirTemp("", "kubelet-")
	if err != nil {
		k.t.Error(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	pod := job.Spec.Template.Spec
	command := exec.CommandContext(ctx, manager, k.mounted(ctx, folder, pod)...)
	command.Env = []string{"KUBECONFIG=" + k.login(ctx, folder, pod.ServiceAccountName), "POD_NAMESPACE=" + job.Namespace}
	out, err := command.CombinedOutput()
	k.mu.Lock()
	k.log.Write(out)
	k.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	now := metav1.Now()
	job.Status.StartTime = &now
	condition := func(kind batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, LastProbeTime: now}
	}
	if err == nil {
		job.Status.Succeeded, job.Status.CompletionTime = 1, &now
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(batchv1.JobComplete)}
	} else {
		job.Status.Failed = 1
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget), condition(batchv1.JobFailed)}
	}
	if err := cluster.Status().Update(ctx, job); err != nil && ctx.Err() == nil {
		k.t.Errorf("the status of the Job %s: %v", job.Name, err)
	}
}

// mounted gives the arguments of a Pod's container, with the files of its ConfigMaps in a folder.
func (k *kubelet) mounted(ctx context.Context, folder string, pod corev1.PodSpec) []string {
	arguments := strings.Join(pod.Containers[0].Args, "\n")
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, volume := range pod.Volumes {
			if volume.Name != mount.Name || volume.ConfigMap == nil {
				continue
			}
			var files corev1.ConfigMap
			if err := cluster.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: volume.ConfigMap.Name}, &files); err != nil {
				k.t.Error(err)
			}
			for name, text := range files.Data {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					k.t.Error(err)
				}
			}
			arguments = strings.ReplaceAll(arguments, mount.MountPath+"/", folder+"/")
		}
	}
	return strings.Split(arguments, "\n")
}

// login gives a kubeconfig with the token of a ServiceAccount.
func (k *kubelet) login(ctx context.Context, folder, account string) string {
	token := &authenticationv1.TokenRequest{}
	serviceAccount := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: account}}
	if err := cluster.SubResource("token").Create(ctx, serviceAccount, token); err != nil {
		k.t.Errorf("a token for %s: %v", account, err)
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		k.t.Error(err)
		return ""
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	path := filepath.Join(folder, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		k.t.Error(err)
	}
	return path
}
