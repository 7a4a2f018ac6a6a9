# Started before the runner in a sandbox that needs more than the runner itself; then the runner takes its place.
set -eu

# Scripts that the runner runs around its job come as variables, so that no image has to be built for them.
folder=
for event in STARTED COMPLETED; do
  eval "script=\${MODALRUNNER_HOOK_JOB_$event:-}"
  if [ -n "$script" ]; then
    [ -n "$folder" ] || folder=$(mktemp -d)
    printf '%s\n' "$script" >"$folder/job-$event.sh"
    chmod 0755 "$folder/job-$event.sh"
    export "ACTIONS_RUNNER_HOOK_JOB_$event=$folder/job-$event.sh"
    unset "MODALRUNNER_HOOK_JOB_$event"
  fi
done

# Docker: in gVisor, in which sandboxes run, it has no networking but what is set up here, since gVisor has neither nftables
# nor masquerading. In a virtual machine it needs nothing.
if [ -n "${MODALRUNNER_DOCKER:-}" ]; then
  if ! command -v dockerd >/dev/null; then
    echo "sandbox.docker is set, and the image has no dockerd: install Docker in it" >&2
    exit 1
  fi
  flags=
  if [ "$MODALRUNNER_DOCKER" = gvisor ]; then
    device=$(ip route show default | awk '/default/ { print $5; exit }')
    address=$(ip -4 addr show dev "$device" | awk '/inet/ { sub("/.*", "", $2); print $2; exit }')
    echo 1 | tee /proc/sys/net/ipv4/ip_forward >/dev/null
    for protocol in tcp udp; do
      iptables-legacy -t nat -A POSTROUTING -o "$device" -p "$protocol" -j SNAT --to-source "$address"
    done
    flags="--iptables=false --ip6tables=false"
  fi
  unset MODALRUNNER_DOCKER
  log=/tmp/dockerd.log
  # shellcheck disable=SC2086 # two flags
  dockerd $flags >"$log" 2>&1 &
  tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
      echo "the Docker daemon did not start:" >&2
      tail -n 20 "$log" >&2
      exit 1
    fi
    sleep 1
  done
fi

exec "$@"
