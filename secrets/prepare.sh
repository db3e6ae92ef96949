#!/bin/sh
# Runs once before the services start, as root without network: creates missing secrets, each readable only by the
# user of its service, and gives the engine its folder for weights. Running it again changes no secret. To replace a
# secret, delete its file in both volumes and start again. Prints names, never values.
set -eu
umask 077

# The same numbers as `user:` in compose.yaml and USER in the Dockerfiles.
gateway=10001:10001
auth_service=10002:10002
engine=10003:10003
redis=999:1000

# 32 random bytes as 64 hexadecimal digits.
random() { od -An -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# give OWNER FILE: writes standard input to FILE, atomically.
give() {
    cat > "$2.new"
    chmod 0400 "$2.new"
    chown "$1" "$2.new"
    mv "$2.new" "$2"
}

# own OWNER FILE: a secret of one service.
own() {
    [ -s "$2" ] && return
    random | give "$1" "$2"
    echo "made $2"
}

# shared OWNER FILE OWNER FILE: a secret of two services; a service that has lost it gets the other's copy.
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
own "$redis" /redis/guard_password
shared "$gateway" /gateway/introspection_credential "$auth_service" /auth-service/introspection_credential

# The users of Redis, from users.acl; written at every start, so that a new version brings its new rules.
sha256() { sha256sum < "$1" | cut -d ' ' -f 1; }
sed -e '/^#/d' -e '/^$/d' \
    -e "s/{gateway_password_sha256}/$(sha256 /gateway/redis_password)/" \
    -e "s/{auth_service_password_sha256}/$(sha256 /auth-service/redis_password)/" \
    -e "s/{guard_password_sha256}/$(sha256 /redis/guard_password)/" \
    "${0%/*}/users.acl" | give "$redis" /redis/users.acl
# In the volume, because a clone may be readable only by its owner.
give "$redis" /redis/start-redis.sh < "${0%/*}/start-redis.sh"

chown "$engine" /models
