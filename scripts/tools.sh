# Sourced by scripts that install something. They set $tools, the directory for it, and $log, a file there.

say() { echo "install: $*" >&2; }

# quietly runs a command, and shows what it said only when it fails.
quietly() {
    if ! "$@" >>"$log" 2>&1; then
        say "failed: $*"
        tail -n 40 "$log" >&2
        exit 1
    fi
}

need() {
    command -v "$1" >/dev/null || {
        say "$1 is missing: $2"
        exit 1
    }
}

# debian installs the packages whose commands are missing: pairs of command=package.
debian() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    need apt-get "install by hand: ${missing[*]}"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        need sudo "run as root, or install by hand: ${missing[*]}"
        root=(sudo)
    fi
    say "Debian packages: ${missing[*]}"
    quietly "${root[@]}" apt-get update
    quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# same tells whether the file is what was installed from last time.
same() { [ -f "$2" ] && cmp -s "$1" "$2"; }
