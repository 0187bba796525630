#!/usr/bin/env bash
# Ceph's S3 gateway, twice, on a cluster of one monitor and one object store in memory. It has
# conditional writes. See debian.sh for what this takes and gives.
name=ceph
# The first release of Debian whose Ceph (20) has them; older ones ignore some conditions.
suite=forky
packages=radosgw,ceph-osd,ceph-mon,ceph-common

start() {
  local access_key=mirror-test secret_key
  secret_key=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$folder/mon" "$folder/osd" "$folder/run"
  configuration >"$folder/ceph.conf"
  in_root+=(CEPH_CONF=/server/ceph.conf)

  start_cluster
  inside radosgw-admin -n client.rgw user create --uid=test --display-name=test \
    --access-key="$access_key" --secret-key="$secret_key" \
    >"$folder/log/user.log" 2>&1 || fail_with_log user 'the user could not be made'
  # One after the other: the first one makes the pools.
  gateway gateway $((port + 1))
  gateway other-gateway $((port + 2))
  printf '{"endpoint":"http://%s:%d","otherEndpoint":"http://%s:%d",' \
    "$host" $((port + 1)) "$host" $((port + 2))
  printf '"region":"us-east-1","accessKeyId":"%s","secretAccessKey":"%s",' \
    "$access_key" "$secret_key"
  printf '"pids":{"monitor":%d,"osd":%d,"gateway":%d,"otherGateway":%d}}\n' \
    "${pids[monitor]}" "${pids[osd]}" "${pids[gateway]}" "${pids[other-gateway]}"
}

# start_cluster: a monitor and one store; no manager is needed.
start_cluster() {
  local uuid
  {
    inside monmaptool --create --fsid "$fsid" --addv a "[v2:$host:$port]" /server/monmap &&
      inside ceph-mon -i a --mkfs --monmap /server/monmap
  } >"$folder/log/monitor.log" 2>&1 || fail_with_log monitor 'the monitor could not be made'
  daemon monitor ceph-mon -i a -f
  until_true 'the monitor' inside ceph --connect-timeout 5 mon stat
  uuid=$(cat /proc/sys/kernel/random/uuid)
  {
    inside ceph osd new "$uuid" 0 && inside ceph-osd -i 0 --mkfs --osd-uuid "$uuid"
  } >"$folder/log/osd.log" 2>&1 || fail_with_log osd 'the object store could not be made'
  daemon osd ceph-osd -i 0 -f
  until_true 'the object store' object_store_is_up
}

object_store_is_up() {
  inside ceph osd stat | grep -q '1 up'
}

# gateway NAME PORT
gateway() {
  daemon "$1" radosgw -n client.rgw -f --rgw_frontends="beast endpoint=$host:$2" \
    --admin_socket="/server/run/$1.asok" --log_file="/server/log/$1.log"
  until_true "$1" answers "$2"
}

configuration() {
  fsid=$(cat /proc/sys/kernel/random/uuid)
  cat <<CONF
[global]
fsid = $fsid
mon_host = [v2:$host:$port/0]
mon_initial_members = a
public_addr = $host
cluster_addr = $host
ms_bind_msgr1 = false
ms_bind_ipv6 = false
ms_bind_port_min = $((port + 3))
ms_bind_port_max = $((port + 9))
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
run_dir = /server/run
admin_socket = /server/run/\$name.asok
log_file = /server/log/\$name.log
mon_cluster_log_file = /server/log/cluster.log
crash_dir = /server/log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_warn_on_pool_no_redundancy = false
# A test machine's disk may be fuller than a cluster's.
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_failsafe_full_ratio = .99
# Each of the gateway's pools takes some rounds of these.
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
mon_tick_interval = 1

[mon.a]
mon_data = /server/mon

[osd]
osd_data = /server/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
memstore_page_set = false
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 2
osd_mclock_profile = high_client_ops

[client.rgw]
rgw_thread_pool_size = 64
rgw_rados_pool_pg_num_min = 1
rgw_run_sync_thread = false
rgw_enable_usage_log = false
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
# What is removed gives its memory back at once, not after hours.
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 10
rgw_gc_processor_max_time = 10
CONF
}

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
