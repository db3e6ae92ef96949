# Prints the networks in the environment variable PARLEY_TRUSTED_PROXIES, one per line. If one is invalid, prints only
# that one and exits with 1: nginx would resolve a name, and correct a network such as 10.0.0.1/8 in silence.
# For busybox, mawk and gawk.

BEGIN {
    count = split(ENVIRON["PARLEY_TRUSTED_PROXIES"], given, /[ \t]*,[ \t]*/)
    for (i = 1; i <= count; i++) {
        gsub(/^[ \t]+|[ \t]+$/, "", given[i])
        if (given[i] != "" && !is_network(given[i])) {
            print given[i]
            exit 1
        }
    }
    for (i = 1; i <= count; i++) if (given[i] != "") print given[i]
}

function is_network(text,    parts, n, bits) {
    n = split(text, parts, "/")
    bits = parts[1] ~ /:/ ? parse_ipv6(parts[1]) : parse_ipv4(parts[1])
    if (!bits || n > 2) return 0
    # A prefix of 0 would trust everybody.
    if (n == 2) return is_number(parts[2], bits) && parts[2] > 0 && is_aligned(parts[2] + 0, bits)
    return 1
}

# Both fill the array `unit`, and return the number of bits of an address, or 0 if it is invalid.
function parse_ipv4(text,    n, i) {
    n = split(text, unit, ".")
    for (i = 1; i <= n; i++) if (!is_number(unit[i], 255)) return 0
    unit_bits = 8
    return n == 4 ? 32 : 0
}

function parse_ipv6(text,    halves, n, h, groups, m, i, filled, before) {
    if (text ~ /:::/) return 0
    n = split(text, halves, "::")
    if (n > 2) return 0
    for (i = 1; i <= 8; i++) unit[i] = 0
    for (h = 1; h <= n; h++) {
        m = halves[h] == "" ? 0 : split(halves[h], groups, ":")
        if (filled + m > 8) return 0
        # The second half fills the last groups.
        before = h == 1 ? 0 : 8 - m
        for (i = 1; i <= m; i++) {
            if (groups[i] !~ /^[0-9A-Fa-f]+$/ || length(groups[i]) > 4) return 0
            unit[before + i] = from_hex(groups[i])
        }
        filled += m
    }
    unit_bits = 16
    return (n == 2 ? filled < 8 : filled == 8) ? 128 : 0
}

function is_number(text, maximum) {
    return text ~ /^(0|[1-9][0-9]*)$/ && length(text) <= 3 && text + 0 <= maximum
}

function from_hex(text,    value, i) {
    for (i = 1; i <= length(text); i++) value = 16 * value + index("0123456789abcdef", tolower(substr(text, i, 1))) - 1
    return value
}

# Whether all bits behind the prefix are 0. Without `^`, which some builds of busybox lack.
function is_aligned(prefix, bits,    i, free, step) {
    for (i = 1; i * unit_bits <= bits; i++) {
        free = i * unit_bits - prefix
        if (free > unit_bits) free = unit_bits
        for (step = 1; free > 0; free--) step *= 2
        if (unit[i] % step) return 0
    }
    return 1
}
