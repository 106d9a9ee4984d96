#!/bin/sh
# start.sh [stage|run]: what a container of this image does for its app.
#
#   stage  the hooks of pre-staging, the app's staging command (if it has one), the hooks of post-staging
#   run    the hooks of pre-running, then the app's start command in this process's place (the default)
#
# An app lies in /home/stackato/app. Its commands are
#   stage  $STACKATO_STAGE_COMMAND, else the line `stage: COMMAND` of its Procfile
#   run    $STACKATO_START_COMMAND, else the line `web: COMMAND` of its Procfile
# A command is given to /bin/sh; one that should get the container's signals itself begins with `exec`.
#
# The hooks of a phase, in this order, each only where it is there:
#   /home/stackato/app/.stackato/hooks/PHASE     the user's; when it fails, the phase ends with its status
#   /home/stackato/app/.stackato/hooks/-PHASE    the user's; a failure is reported and tolerated
#   /etc/stackato/hooks/PHASE                    the administrator's; when it fails, the phase ends with its status
#
# All of it runs as the user stackato in the app's folder, with PORT set (8080 where the caller set none).
# Without any app, `run` serves one page on PORT that names the container.
set -eu

user=stackato
home=/home/$user
app=$home/app
user_hooks=$app/.stackato/hooks
admin_hooks=/etc/stackato/hooks

say() { printf 'start.sh: %s\n' "$*" >&2; }

fail() {
    status=$1
    shift
    say "$*"
    exit "$status"
}

# Runs a hook where there is one; the result is its status.
run_hook() {
    [ -e "$1" ] || return 0
    if [ ! -x "$1" ]; then
        say "$1 is not executable"
        return 126
    fi
    say "running $1"
    "$1"
}

run_hooks() {
    run_hook "$user_hooks/$1" || fail $? "$user_hooks/$1 failed"
    run_hook "$user_hooks/-$1" || say "$user_hooks/-$1 failed with status $?, which is tolerated"
    run_hook "$admin_hooks/$1" || fail $? "$admin_hooks/$1 failed"
}

# The first command of that name in the app's Procfile, or nothing.
procfile() {
    [ -f "$app/Procfile" ] || return 0
    sed -n "s/^$1:[[:space:]]*//p" "$app/Procfile" | head -n 1
}

stage() {
    run_hooks pre-staging
    command=${STACKATO_STAGE_COMMAND:-$(procfile stage)}
    if [ -n "$command" ]; then
        say "staging: $command"
        sh -c "$command" || fail $? "the staging command failed"
    fi
    run_hooks post-staging
}

run() {
    run_hooks pre-running
    command=${STACKATO_START_COMMAND:-$(procfile web)}
    if [ -n "$command" ]; then
        say "starting: $command"
        exec sh -c "$command"
    fi
    [ -z "$(ls -A "$app")" ] || fail 1 "no start command: give the app a Procfile with a line \`web: COMMAND\`, or set STACKATO_START_COMMAND"
    serve_page
}

# The page of a container without an app.
serve_page() {
    mkdir -p "$home/www"
    cat >"$home/www/index.html" <<PAGE
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Fence container</title></head>
<body>
<h1>It works</h1>
<p>This is container <b>$(hostname)</b>. It has no app yet; its user is $(id -un).</p>
</body>
</html>
PAGE
    say "no app here: serving a page on port $PORT"
    exec busybox httpd -f -p "$PORT" -h "$home/www"
}

main() {
    phase=${1:-run}
    case $phase in
    stage | run) ;;
    *) fail 2 "usage: start.sh [stage|run]" ;;
    esac
    if [ "$(id -u)" -eq 0 ]; then
        # shellcheck disable=SC2016 # the new shell expands it
        exec busybox su -s /bin/sh -c 'exec start.sh "$0"' "$user" "$phase"
    fi
    PORT=${PORT:-8080}
    export PORT
    cd "$app"
    "$phase"
}

main "$@"
