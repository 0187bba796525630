# shellcheck shell=bash
# To be sourced by the scripts that run an S3 server from Debian packages. The packages are unpacked
# into a folder of the cache and run in a chroot, in a mount namespace of their own: nothing is
# installed on the machine but mmdebstrap, and nothing is mounted that outlives the server.
#
#   <name>.sh install       unpacks the packages, unless that is done; needs the network
#   <name>.sh run FOLDER    starts the server with its files below FOLDER, prints one line of JSON
#                           when it answers, and ends it when standard input ends; logs are in
#                           FOLDER/log
#
# Both need root on Linux; run also the right to make mounts. The script that sources this has
# $name, $suite and $packages, and `start`, which starts daemons by `daemon` and prints the line.
set -euo pipefail

export LC_ALL=C DEBIAN_FRONTEND=noninteractive
cache=${MIRROR_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mirror-action-tests}
root=$cache/$name-$suite

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Where apt gets Debian from; only Debian's own archive counts, not its security updates.
mirror() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | head -n 1
}

install_packages() {
  command -v apt-get >/dev/null || fail 'apt-get is needed: the servers come from Debian packages'
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  if [ -d "$root" ]; then
    echo "$name is installed in $root"
    return
  fi
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  if ! command -v mmdebstrap >/dev/null || [ ! -e $keyring ] || [ -z "$(mirror)" ]; then
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends mmdebstrap debian-archive-keyring >&2
  fi
  local from=${MIRROR_TEST_DEBIAN:-$(mirror)}
  [ -n "$from" ] || fail 'apt knows no mirror of Debian: name one in MIRROR_TEST_DEBIAN'
  rm -rf "$root.new"
  # A suite that is not released yet says until when it is valid, which a mirror that stands still
  # outlives. Signatures are checked.
  mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$packages,bash,coreutils" "$suite" "$root.new" \
    "deb [signed-by=$keyring] $from $suite main" >&2
  mkdir -p "$root.new/server"
  # What packages make when they are set up, and unpacking does not.
  echo '127.0.0.1 localhost' >"$root.new/etc/hosts"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root.new/etc/passwd"
  echo 'root:x:0:' >"$root.new/etc/group"
  mv --no-target-directory "$root.new" "$root"
  echo "$name was installed in $root"
}

# Programs of the packages get nothing of the machine's environment: a locale that the chroot lacks
# makes Ceph abort, and Swift takes long without the bytecode that Python keeps.
in_root=(chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C)

# Runs one of them to its end; the server's folder is /server to it.
inside() {
  "${in_root[@]}" "$@"
}

# daemon NAME PROGRAM...: its pid is in $pids under that name, its output in log/NAME.log.
declare -A pids=()
daemon() {
  local label=$1
  shift
  # It ends with this script, however that ends.
  setpriv --pdeathsig KILL "${in_root[@]}" "$@" </dev/null >>"$folder/log/$label.log" 2>&1 &
  pids[$label]=$!
}

end_daemons() {
  [ ${#pids[@]} -eq 0 ] || kill -KILL "${pids[@]}" || true
  wait
} 2>/dev/null

# until_true WHAT COMMAND...: waits for it, as long as all daemons are there.
until_true() {
  local what=$1 label ends=$((SECONDS + 120))
  shift
  until "$@" >/dev/null 2>&1; do
    for label in "${!pids[@]}"; do
      kill -0 "${pids[$label]}" 2>/dev/null || fail_with_log "$label" "$label ended"
    done
    [ $SECONDS -lt $ends ] || fail "gave up waiting: $what; see $folder/log"
    sleep 0.05
  done
}

fail_with_log() {
  tail -n 40 "$folder/log/$1.log" >&2 || true
  fail "$2, see above and $folder/log"
}

# answers PORT: whether something takes connections there.
answers() {
  (exec 3<>"/dev/tcp/$host/$1")
}

# A loopback address of its own, so that servers of several runs are not in each other's way, and
# $port and the nine after it, which nothing on the machine listens at.
choose_address() {
  host=127.$((RANDOM % 100 + 100)).$((RANDOM % 254 + 1)).$((RANDOM % 254 + 1))
  local taken each
  taken=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }')
  while :; do
    # Below the ports that the kernel gives away.
    port=$((RANDOM % 2000 * 10 + 10000))
    for each in 0 1 2 3 4 5 6 7 8 9; do
      if grep -qi "^$(printf %04x $((port + each)))$" <<<"$taken"; then continue 2; fi
    done
    return 0
  done
}

run() {
  mount --rbind /dev "$root/dev"
  mount --bind /proc "$root/proc"
  mount --bind "$folder" "$root/server"
  choose_address
  trap end_daemons EXIT
  trap 'exit 1' INT TERM HUP
  start
  # Until whoever started this ends it. A built-in command, since only that gives way to a trap.
  while read -r _; do :; done
}

[ "$(uname)" = Linux ] || fail 'it runs on Linux only'
[ "$(id -u)" = 0 ] || fail 'it needs to be root'
case ${1:-} in
  install) install_packages ;;
  run)
    folder=${2:?the folder of the server}
    [ -d "$root" ] || fail "not installed: run bash $0 install"
    mkdir -p "$folder/log"
    folder=$(realpath "$folder")
    namespace=$(readlink /proc/self/ns/mnt)
    # The third argument is ours: the namespace that must not be this one.
    if [ "${3:-$namespace}" = "$namespace" ]; then
      # It ends with whoever has started it, also while it starts.
      exec setpriv --pdeathsig TERM \
        unshare --mount --propagation private bash "$0" run "$folder" "$namespace"
    fi
    run
    ;;
  *) fail 'usage: install, or run FOLDER' ;;
esac
