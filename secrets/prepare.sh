#!/bin/sh
# Run once before the services start, as root without network: makes the secrets that do not exist yet, each
# readable only by the user of the service it belongs to, and gives the engine its folder for weights.
# Running it again changes nothing. To replace a secret, delete its file in both volumes and start again.
# Prints names, never values.
set -eu
umask 077

# The same numbers as `user:` in compose.yaml and USER in the Dockerfiles.
gateway=10001:10001
auth_service=10002:10002
engine=10003:10003
redis=999:1000

# 32 random bytes as 64 hexadecimal digits.
random() { od -An -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# give OWNER FILE: standard input becomes FILE at once or not at all.
give() {
    cat > "$2.new"
    chmod 0400 "$2.new"
    chown "$1" "$2.new"
    mv "$2.new" "$2"
}

# One secret of one service.
own() {
    [ -s "$2" ] && return
    random | give "$1" "$2"
    echo "made $2"
}

# One secret that two services share: if one of them lost it, it gets the other's.
shared() {
    [ -s "$2" ] && [ -s "$4" ] && cmp -s "$2" "$4" && return
    if [ -s "$2" ]; then secret=$(cat "$2"); elif [ -s "$4" ]; then secret=$(cat "$4"); else secret=$(random); fi
    printf %s "$secret" | give "$1" "$2"
    printf %s "$secret" | give "$3" "$4"
    echo "made $2 and $4"
}

own "$gateway" /gateway/server_key
own "$gateway" /gateway/redis_password
own "$auth_service" /auth-service/redis_password
shared "$gateway" /gateway/introspection_credential "$auth_service" /auth-service/introspection_credential

# What each service may do in Redis; written at every start, so that a new version brings its new rules.
# `default` is off: who has no password has no access. `health` can only ping. The gateway reaches its own keys and
# channels, and none of the commands that administer, script or empty the server. The auth-service reads and writes no
# key at all: it says on one channel what is revoked, and its client says hello.
# https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
hash=$(sha256sum < /gateway/redis_password | cut -d ' ' -f 1)
auth_hash=$(sha256sum < /auth-service/redis_password | cut -d ' ' -f 1)
give "$redis" /redis/users.acl <<ACL
user default off
user health on nopass -@all +ping
user gateway on #$hash ~parley:* &parley:* -@all +@read +@write +@transaction +@pubsub +@connection -@admin -@dangerous -@scripting +info
user auth-service on #$auth_hash resetkeys resetchannels &parley:revocations -@all +publish +hello
ACL

chown "$engine" /models
