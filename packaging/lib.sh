# shellcheck shell=bash
# What ./quickstart, ./test and the recipes of images share: saying what happens, installing Debian packages, finding
# cargo, reaching Docker, building fence-init. Sourced, never run; it changes nothing when sourced but PATH.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# dockerd, nft and debootstrap live where a plain user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

step() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# as_root COMMAND...: runs it as root, through sudo where we are not.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed to run: $*"
    fi
}

# quietly COMMAND...: shows the command's output only where it fails, and then returns its status.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
        printf '%s: failed with status %d: %s\n' "$(basename "$0")" "$status" "$*" >&2
    fi
    rm -f "$log"
    return "$status"
}

# wait_for SECONDS COMMAND...: runs the command until it succeeds; fails when the time is over.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# workspace_key KEY: the value of a key of [workspace.package] in the root Cargo.toml.
workspace_key() {
    sed -n '/^\[workspace.package\]/,/^\[/s/^'"$1"' *= *"\(.*\)"/\1/p' "$repo/Cargo.toml"
}

# The image that containers are made of unless configured otherwise (the schema's default of `fence docker/image`).
base_image() { printf 'fence/base:%s\n' "$(workspace_key version)"; }

# --- Debian packages -------------------------------------------------------------------------------------------

has_package() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_packages NAME...: installs those that are missing. A name `COMMAND=PACKAGE` is there when the command is,
# wherever it came from: Docker's own packages are as good as Debian's.
install_packages() {
    local want missing=()
    for want in "$@"; do
        case $want in
        *=*) command -v "${want%%=*}" >/dev/null || missing+=("${want#*=}") ;;
        *) has_package "$want" || missing+=("$want") ;;
        esac
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing, and no apt-get to install them: ${missing[*]}"
    step "installing ${missing[*]}"
    update_packages
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"
}

# Refreshes apt's lists, once a run.
package_lists=old
update_packages() {
    [ "$package_lists" = old ] || return 0
    quietly as_root apt-get -q update
    package_lists=new
}

# Debian 13 has the client in a package of its own; before, docker.io holds both.
install_docker() {
    install_packages dockerd=docker.io
    command -v docker >/dev/null || install_packages docker=docker-cli
}

# What building takes: a C compiler for the bundled SQLite, the static C library for fence-init (libc6-dev), protobuf's
# compiler and its own messages for etcd's client, and the certificates that cargo checks crates.io with.
install_build_packages() { install_packages cc=gcc libc6-dev protoc=protobuf-compiler libprotobuf-dev ca-certificates; }

# --- Rust ------------------------------------------------------------------------------------------------------

# Where a command was started through sudo, cargo is often in the home of the user who did.
find_cargo() {
    local home
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-}" | cut -d: -f6)"; do
        [ -n "$home" ] && [ -x "$home/.cargo/bin/cargo" ] && PATH=$home/.cargo/bin:$PATH
    done
    command -v cargo >/dev/null
}

# Makes cargo available in the version that the workspace asks for.
need_cargo() {
    local wanted found
    wanted=$(workspace_key rust-version)
    if ! find_cargo; then
        ! command -v apt-get >/dev/null || update_packages
        if ! apt-cache show rustup >/dev/null 2>&1; then
            die "cargo is missing; install it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
        fi
        install_packages rustup
        step "installing the stable Rust toolchain"
        quietly rustup default stable
    fi
    found=$(run_cargo --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        die "cargo is $found, $wanted or newer is needed: rustup update stable"
    fi
}

# builds_as: the user who builds. A cargo from the home of the user behind sudo runs as that user, so that nothing of
# theirs ends up owned by root.
builds_as() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$(stat -L -c %U "$(command -v cargo)")" = "$SUDO_USER" ]; then
        printf '%s\n' "$SUDO_USER"
    else
        id -un
    fi
}

# run_cargo ARGS...: cargo in the checkout, as the user who builds.
run_cargo() {
    local user
    user=$(builds_as)
    if [ "$user" = "$(id -un)" ]; then
        (cd "$repo" && cargo "$@")
    else
        (cd "$repo" && sudo -E -H -u "$user" env "PATH=$PATH" cargo "$@")
    fi
}

target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$repo/target}"; }

# fence-init runs in any image, so it is one static binary: target/init/fence-init.
build_fence_init() {
    run_cargo rustc --locked --quiet -p fence-init --bin fence-init --profile init -- -C target-feature=+crt-static
}

# --- Images ----------------------------------------------------------------------------------------------------

# install_busybox ROOT [FROM]: everything that busybox can do, under the paths where scripts look for it; what is there
# stays. With FROM it is that of the Debian below, for whatever machine, and can do what this machine's can.
install_busybox() {
    local root=$1 from=${2:-} busybox applet
    busybox=$(command -v busybox) || die "busybox is missing: apt-get install busybox-static"
    if ldd "$busybox" >/dev/null 2>&1; then
        die "$busybox needs shared libraries: apt-get install busybox-static"
    fi
    local source=$busybox
    [ -z "$from" ] || source=$from/bin/busybox
    install -m 0755 "$source" "$root/bin/busybox"
    while read -r applet; do
        case $applet in
        bin/busybox) ;;
        */*) [ -e "$root/$applet" ] || [ -L "$root/$applet" ] || ln -s /bin/busybox "$root/$applet" ;;
        esac
    done < <("$busybox" --list-full)
}

# --- Docker ----------------------------------------------------------------------------------------------------

# A dockerd that hangs must not hang us.
docker_answers() { as_root timeout 10 docker version >/dev/null 2>&1; }

# Starts Docker where none answers: through systemd where it runs, else by hand.
need_docker() {
    docker_answers && return 0
    [ -z "${DOCKER_HOST:-}" ] || die "no Docker answers at DOCKER_HOST=$DOCKER_HOST"
    if [ -d /run/systemd/system ]; then
        step "starting the docker service"
        as_root systemctl start docker
        wait_for 60 docker_answers || die "Docker does not answer; see: journalctl -u docker"
        return 0
    fi
    start_dockerd
}

# dockerd writes its own pid file and refuses to start beside a running one.
start_dockerd() {
    local log=/var/log/dockerd.log
    step "starting dockerd (it stays; log $log, pid in /var/run/docker.pid)"
    # shellcheck disable=SC2024 # the shell that opens the log runs as root too
    as_root sh -c "setsid dockerd >>'$log' 2>&1 </dev/null &"
    if ! wait_for 60 docker_answers; then
        tail -n 30 "$log" >&2
        die "dockerd did not answer within 60 s; its last lines are above"
    fi
}

has_image() { as_root docker image inspect "$1" >/dev/null 2>&1; }
