#!/usr/bin/env bash
# Swift with its S3 interface: one replica, on the disk. It has no conditional writes. See
# debian.sh for what this takes and gives.
name=swift
# Its Swift (2.30) is older than conditional writes; newer ones may have them.
suite=bookworm
packages=python3-swift,memcached

start() {
  local access_key=test:tester secret_key kind
  secret_key=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$folder"/{etc,cache,devices/disk}
  swift_configuration >"$folder/etc/swift.conf"
  proxy_configuration "$secret_key" >"$folder/etc/proxy.conf"
  backend_configuration account $((port + 1)) >"$folder/etc/account.conf"
  backend_configuration container $((port + 2)) >"$folder/etc/container.conf"
  backend_configuration object $((port + 3)) >"$folder/etc/object.conf"
  python "$(make_rings)" "$host" "$port" >"$folder/log/rings.log" 2>&1 ||
    fail_with_log rings 'the rings could not be made'

  # Without it nobody is let in.
  daemon memcached memcached -u root -l "$host" -p $((port + 4)) -U 0
  for kind in account container object proxy; do
    daemon "$kind" python3 -c "$(serve)" "/server/etc/$kind.conf" "$kind"
  done
  until_true 'the account server' answers $((port + 1))
  until_true 'the container server' answers $((port + 2))
  until_true 'the object server' answers $((port + 3))
  until_true 'memcached' answers $((port + 4))
  until_true 'the proxy' answers "$port"
  printf '{"endpoint":"http://%s:%d","region":"us-east-1","accessKeyId":"%s","secretAccessKey":"%s",' \
    "$host" "$port" "$access_key" "$secret_key"
  printf '"pids":{"account":%d,"container":%d,"object":%d,"memcached":%d,"gateway":%d}}\n' \
    "${pids[account]}" "${pids[container]}" "${pids[object]}" "${pids[memcached]}" "${pids[proxy]}"
}

python() {
  local program=$1
  shift
  inside python3 -c "$program" "$@"
}

make_rings() {
  cat <<'PYTHON'
import sys
from swift.common.ring import RingBuilder

host, port = sys.argv[1], int(sys.argv[2])
for number, kind in enumerate(['account', 'container', 'object'], 1):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({'region': 1, 'zone': 1, 'ip': host, 'port': port + number,
                     'device': 'disk', 'weight': 1})
    builder.rebalance()
    builder.get_ring().save('/server/etc/%s.ring.gz' % kind)
PYTHON
}

# What the programs of Swift do that Debian packages one by one.
serve() {
  cat <<'PYTHON'
import sys
from swift.common.utils import set_swift_dir
from swift.common.wsgi import run_wsgi

path, kind = sys.argv[1:]
set_swift_dir('/server/etc')
options = {}
if kind == 'object':
    from swift.obj.server import global_conf_callback
    options['global_conf_callback'] = global_conf_callback
sys.exit(run_wsgi(path, kind + '-server', verbose=True, **options))
PYTHON
}

swift_configuration() {
  cat <<CONF
[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test

[storage-policy:0]
name = only
default = yes
CONF
}

# common PORT
common() {
  cat <<CONF
[DEFAULT]
bind_ip = $host
bind_port = $1
user = root
# One process each, so that their ids are known.
workers = 0
swift_dir = /server/etc
devices = /server/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
db_preallocation = off
recon_cache_path = /server/cache
log_level = WARNING
CONF
}

# backend_configuration KIND PORT
backend_configuration() {
  common "$2"
  cat <<CONF

[pipeline:main]
pipeline = $1-server

[app:$1-server]
use = egg:swift#$1
CONF
}

# proxy_configuration SECRET_KEY
proxy_configuration() {
  common "$port"
  cat <<CONF

[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth slo dlo versioned_writes proxy-server

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:cache]
use = egg:swift#memcache
memcache_servers = $host:$((port + 4))

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = $1 .admin

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
CONF
}

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
