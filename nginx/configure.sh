#!/bin/sh
# Writes the part of nginx's configuration that depends on the environment, before nginx starts: in the container and
# for local processes (dev/nginx.py). Prints a sentence and exits with 1 if a value is invalid.
#   configure.sh FOLDER ADDRESS...   the folder is created; the addresses are those of nginx's `listen`
# From the environment (docs/configuration.md):
#   PARLEY_TRUSTED_PROXIES   networks of the proxies in front of nginx, separated by commas
#   PARLEY_PROXY_PROTOCOL    whether these proxies use the PROXY protocol instead of X-Forwarded-For
#   PARLEY_COOKIE_SECURE     whether browsers reach Parley over TLS only
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

mkdir -p "$folder"
{ write_proxies && write_scheme; } > "$folder/http.conf"
write_listen "$@" > "$folder/listen.conf"
