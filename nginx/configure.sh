#!/bin/sh
# Writes the part of nginx's configuration that depends on the environment, before nginx starts: in the container and
# for local processes (dev/nginx.py). Prints a sentence and exits with 1 if a value is invalid.
#   configure.sh FOLDER ADDRESS...   the folder is created; the addresses are those of nginx's `listen`
# From the environment (docs/configuration.md):
#   PARLEY_TRUSTED_PROXIES   networks of the proxies in front of nginx, separated by commas
#   PARLEY_PROXY_PROTOCOL    whether these proxies use the PROXY protocol instead of X-Forwarded-For
#   PARLEY_COOKIE_SECURE     whether browsers reach Parley over TLS only
#   NGINX_CPUS               the number of CPUs, instead of the machine's
#   NGINX_CGROUP             the folder of the control group, instead of /sys/fs/cgroup
set -eu

here=$(dirname "$0")
folder=$1
shift

fail() {
    printf 'nginx: %s\n' "$1" >&2
    exit 1
}

# The words that the services accept.
is_true() {
    case $(printf %s "$2" | tr '[:upper:]' '[:lower:]') in
        true | 1 | yes | on | t | y) return 0 ;;
        '' | false | 0 | no | off | f | n) return 1 ;;
        *) fail "$1 is invalid: expected true or false, got \"$2\"." ;;
    esac
}

networks=$(awk -f "$here/networks.awk") ||
    fail "PARLEY_TRUSTED_PROXIES is invalid: expected addresses or networks such as 10.0.0.0/8, got \"$networks\"."

proxy_protocol=
if is_true PARLEY_PROXY_PROTOCOL "${PARLEY_PROXY_PROTOCOL:-}"; then
    [ -n "$networks" ] || fail "PARLEY_PROXY_PROTOCOL also requires PARLEY_TRUSTED_PROXIES."
    proxy_protocol=' proxy_protocol'
fi

# Of a request about which no trusted proxy says anything.
scheme=\$scheme
if is_true PARLEY_COOKIE_SECURE "${PARLEY_COOKIE_SECURE:-}"; then
    scheme=https
fi

# `$remote_addr` becomes the client's address, which limits.conf, access-log.conf and forwarding.conf use: the last one
# in X-Forwarded-For that is not a proxy itself. For other peers it stays the address of the connection, whatever they
# send. https://nginx.org/en/docs/http/ngx_http_realip_module.html
write_proxies() {
    for network in $networks; do
        echo "set_real_ip_from $network;"
    done
    [ -n "$proxy_protocol" ] && echo 'real_ip_header proxy_protocol;' || echo 'real_ip_header X-Forwarded-For;'
    echo 'real_ip_recursive on;'
    # By the address of the connection. https://nginx.org/en/docs/http/ngx_http_geo_module.html
    # shellcheck disable=SC2016
    echo 'geo $realip_remote_addr $from_trusted_proxy {'
    echo '    default 0;'
    for network in $networks; do
        echo "    $network 1;"
    done
    echo '}'
}

# The scheme that the browser uses. The PROXY protocol has no field for it, only the port that the client connected to,
# and a proxy that speaks it may pass on the client's own headers.
write_scheme() {
    # shellcheck disable=SC2016
    if [ -n "$proxy_protocol" ]; then
        echo 'map "$from_trusted_proxy $proxy_protocol_server_port" $forwarded_scheme {'
        echo '    "1 443" https;'
    else
        echo 'map "$from_trusted_proxy $http_x_forwarded_proto" $forwarded_scheme {'
        echo '    "~*^1 https$" https;'
    fi
    echo "    default $scheme;"
    echo '}'
}

write_listen() {
    for address in "$@"; do
        echo "listen $address default_server$proxy_protocol;"
    done
}

# The first number in a file of the control group; nothing if it sets no limit ("max", -1) or does not exist.
limit() {
    [ -r "$cgroup/$1" ] && awk '$1 ~ /^[0-9]+$/ { print $1; exit }' "$cgroup/$1" || true
}

# What the container may use, not what the host has: `auto` counts all CPUs of the host. In cgroup v2 the quota and the
# period are in one file, in v1 in two. https://docs.kernel.org/admin-guide/cgroup-v2.html
count_cpus() {
    cpus=${NGINX_CPUS:-$(nproc)}
    quota=$(limit cpu.max)
    period=$(awk '{ print $2 }' "$cgroup/cpu.max" 2>/dev/null || true)
    quota=${quota:-$(limit cpu/cpu.cfs_quota_us)}
    period=${period:-$(limit cpu/cpu.cfs_period_us)}
    if [ -n "$quota" ] && [ $(((quota + period - 1) / period)) -lt "$cpus" ]; then
        cpus=$(((quota + period - 1) / period))
    fi
}

count_memory() {
    memory=$(limit memory.max)
    memory=${memory:-$(limit memory/memory.limit_in_bytes)}
    # Without a limit (in v1, a huge one), as much as compose.yaml allows.
    if [ -z "$memory" ] || [ "$memory" -gt $((64 * gibibyte)) ]; then
        memory=$((256 * mebibyte))
    fi
}

# One worker per CPU, but no more than one per 32 MB: eight in a container of 256 MB. Even if every connection is in use,
# the workers fill at most 60 % of the memory; the rest is for the zones of limits.conf (40 MB) and files in /tmp.
# Measured: an open chat, which has two connections, takes 22 kB; an idle worker takes less than 1 MB, and 0.4 kB more
# for each connection that it may have.
# https://nginx.org/en/docs/ngx_core_module.html#worker_processes
write_workers() {
    workers=$((memory / (32 * mebibyte)))
    [ "$workers" -le "$cpus" ] || workers=$cpus
    [ "$workers" -le 64 ] || workers=64
    [ "$workers" -ge 1 ] || workers=1
    connections=$(((memory * 6 / 10 / workers - mebibyte) / (12 * 1024)))
    [ "$connections" -le 8192 ] || connections=8192
    [ "$connections" -ge 256 ] || connections=256
    echo "worker_processes $workers;"
    echo 'events {'
    echo "    worker_connections $connections;"
    echo '}'
}

cgroup=${NGINX_CGROUP:-/sys/fs/cgroup}
mebibyte=$((1024 * 1024))
gibibyte=$((1024 * mebibyte))
count_cpus
count_memory

mkdir -p "$folder"
write_workers > "$folder/workers.conf"
{ write_proxies && write_scheme; } > "$folder/http.conf"
write_listen "$@" > "$folder/listen.conf"
