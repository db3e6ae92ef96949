#!/bin/sh
# Starts Redis, and beside it a guard of its disk (docs/decisions/0016-a-guard-of-the-disk.md):
#   start-redis.sh FOLDER PORT PASSWORD_FILE redis-server OPTION...
# Redis exits when its append-only file cannot grow. So the guard makes Redis refuse new data before that, as it does
# when its memory is full; stored data can still be read and deleted. STORAGE_BALLAST_PIECES: 0 for none.
set -eu
folder=$1 port=$2 password_file=$3
shift 3

# In KiB. `reserve` is for what Redis does not refuse: deletions, leases; and for what it writes between two checks.
reserve=65536
# What must be gained before new data is accepted again, or for a rewrite to be worth it: no change every second.
step=4096
# With less, Redis is about to exit.
minimum=16384
piece=8192
pieces=${STORAGE_BALLAST_PIECES:-8}
rewrite_pause_seconds=60
answer_within_seconds=10

free_kib() { df -Pk "$folder" | awk 'NR == 2 {print $4}'; }

ask() {
    REDISCLI_AUTH=$password redis-cli -p "$port" --no-auth-warning --user guard "$@" 2> /dev/null | tr -d '\r'
}

setting() { ask config get "$1" | sed -n 2p; }

# set_to NAME VALUE: whether Redis has done it.
set_to() { [ "$(ask config set "$1" "$2")" = OK ]; }

say() { echo "disk guard: $*" >&2; }

# The ballast are files without content. If something else fills the disk, they make room for deletions, piece by piece.
release_ballast() {
    for number in $(seq "$pieces" -1 1); do
        [ -e "$folder/ballast.$number" ] || continue
        rm -f "$folder/ballast.$number"
        say "the disk is full: released a piece of the ballast"
        return 0
    done
    return 1
}

add_ballast() {
    for number in $(seq 1 "$pieces"); do
        [ -e "$folder/ballast.$number" ] && continue
        dd if=/dev/zero of="$folder/ballast.new" bs=1024 count="$piece" 2> /dev/null &&
            mv "$folder/ballast.new" "$folder/ballast.$number" || rm -f "$folder/ballast.new"
        return
    done
}

refuse_writes() {
    limit=$(setting maxmemory)
    [ -n "$limit" ] && set_to maxmemory 1 || return 0
    is_full=1
    say "$1 KiB free, $2 needed: new data is refused"
}

accept_writes() {
    set_to maxmemory "$limit" || return 0
    is_full=0
    say "$1 KiB free, $2 needed: new data is accepted again"
}

forbid_rewrites() {
    percentage=$(setting auto-aof-rewrite-percentage)
    [ -n "$percentage" ] && set_to auto-aof-rewrite-percentage 0 && may_rewrite=0
}

permit_rewrites() { set_to auto-aof-rewrite-percentage "$percentage" && may_rewrite=1; }

# Whether Redis has reported what it stores. A rewrite writes that, at most as large as in memory, to a new file before it
# deletes the old one. Room for it is always kept; what it has written so far counts as free.
measure() {
    dataset='' file='' is_rewriting=''
    # An empty Redis 8.0 reports 2^64 less a few bytes as the size of its data: the overhead exceeds what is in use.
    eval "$(ask info memory persistence | awk -F: '
        $1 == "used_memory" {used = $2}
        $1 == "used_memory_dataset" {printf "dataset=%d\n", ($2 > used ? 0 : $2 / 1024)}
        $1 == "aof_current_size" {printf "file=%d\n", $2 / 1024}
        $1 == "aof_rewrite_in_progress" {printf "is_rewriting=%d\n", $2}')"
    free=$(free_kib)
    [ -n "$dataset" ] && [ -n "$file" ] && [ -n "$is_rewriting" ] && [ -n "$free" ] || return 1
    written=0
    [ "$is_rewriting" = 0 ] || written=$(du -ck "$folder"/temp-* 2> /dev/null | tail -n 1 | cut -f 1)
    room=$((free + ${written:-0}))
    needed=$((reserve + dataset))
}

keep_room() {
    [ "$free" -ge "$minimum" ] || release_ballast
    if [ "$is_full" = 0 ] && [ "$room" -lt "$needed" ]; then refuse_writes "$room" "$needed"; fi
    if [ "$is_full" = 1 ] && [ "$room" -ge $((needed + step)) ]; then accept_writes "$room" "$needed"; fi
    if [ "$is_full" = 0 ] && [ "$room" -ge $((needed + step + piece)) ]; then add_ballast; fi
}

# Deleting makes the file longer; only a rewrite makes it shorter.
rewrite() {
    fits=$((room >= reserve / 2 + dataset))
    if [ "$may_rewrite" = 1 ] && [ "$fits" = 0 ]; then forbid_rewrites; fi
    if [ "$may_rewrite" = 0 ] && [ "$fits" = 1 ]; then permit_rewrites; fi
    seconds_since_rewrite=$((seconds_since_rewrite + 1))
    if [ "$is_full" = 1 ] && [ "$fits" = 1 ] && [ "$is_rewriting" = 0 ] && [ "$file" -ge $((dataset + step)) ] &&
        [ "$seconds_since_rewrite" -ge "$rewrite_pause_seconds" ]; then
        say "rewriting the append-only file, which has $file KiB for $dataset KiB of data"
        ask bgrewriteaof > /dev/null
        seconds_since_rewrite=0
    fi
}

# While the shell that started it lives, which becomes Redis. Nothing that fails here ends the guard.
guard() {
    set +e
    password=$(cat "$password_file")
    is_full=0 may_rewrite=1 seconds_since_rewrite=$rewrite_pause_seconds unanswered=0
    while kill -0 $$ 2> /dev/null; do
        if measure; then
            unanswered=0
            keep_room
            rewrite
        else
            unanswered=$((unanswered + 1))
            [ "$unanswered" != "$answer_within_seconds" ] || say "redis does not answer its user guard: the disk is not watched"
        fi
        sleep 1
    done
}

# What a rewrite has left that was killed with Redis; nothing else deletes it.
rm -f "$folder"/temp-rewriteaof-*.aof "$folder/ballast.new"
while [ "$(free_kib)" -lt "$minimum" ] && release_ballast; do :; done
guard &
exec "$@"
