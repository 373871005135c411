# Sourced by scripts/services.sh: servers as containers, of docker-compose.yml. A set of its own is a project of its
# own, with ports of its own. The data is in the project's volumes.

project=bankforge
if [ "$dir" != "$shared" ]; then project=bankforge-$(sha256sum <<<"$dir" | cut -c1-12); fi

compose() { docker compose --project-name "$project" "$@"; }

install_software() { compose pull "$@"; }

up() { compose up --detach --wait "$@"; }
down() { compose down; }

one_start() { compose up --detach --wait "$1"; }
one_kill() { compose kill "$1"; }
one_wipe() {
    compose rm --stop --force "$1"
    docker volume rm "${project}_$1"
}

one_pause() { compose pause "$1"; }
one_resume() { compose unpause "$1"; }

one_stop() { # one_stop NAME [now]
    case $1-${2:-} in
        *-) compose stop "$1" ;;
        postgres-now) compose kill --signal QUIT "$1" ;;
        *-now) compose kill "$1" ;;
    esac
}

one_pid() {
    local id pid
    id=$(compose ps --quiet "$1")
    [ -n "$id" ] || fail "$1 does not run"
    pid=$(docker inspect --format '{{.State.Pid}}' "$id")
    [ "$pid" != 0 ] || fail "$1 does not run"
    echo "$pid"
}
