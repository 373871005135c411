#!/bin/bash
# The servers that BankForge can use: postgres kafka redis mongo mailpit. Where a container engine answers they run in
# it, by docker-compose.yml; otherwise as processes of this machine, and what is missing is installed. Versions, ports
# and settings are in .env.
#
#   scripts/services.sh [--dir DIR] [--ports auto|BASE] VERB [NAME...]
#
#   up [NAME...]       starts them (all, if none is named), and returns when they answer. Prints lines
#                      "export BANKFORGE_...=..." and nothing else on standard output. They stay.
#   down               stops what up started; the data stays
#   install [NAME...]  only brings the software
#   stop NAME [now]    stops one in order; now: without, as "pg_ctl stop -m immediate"
#   start NAME         starts it again, with the same data and port
#   kill NAME          ends it with SIGKILL, its children too
#   wipe NAME          kills it, and loses its data, as when a disk is lost; "start NAME" gives it an empty one
#   pause NAME         halts it with SIGSTOP; "resume NAME" lets it go on
#   pid NAME           prints its process
#
# --dir is a set of its own, with its data in DIR (else .tools/services); --ports says where a new set listens: on free
# ports (auto, as sets of their own do), or from BASE on. DIR may have blanks, but no comma, quotation mark or backslash. The
# software is in .tools, or in $BANKFORGE_TOOLS. BANKFORGE_ENGINE=none uses no container engine.
set -eu -o pipefail
exec 3>&1 1>&2
from=$PWD
cd "$(dirname "$0")/.."

complain() { echo "services: $*" >&2; }

fail() {
    complain "$*"
    exit 1
}

usage() {
    sed -n '/^#   /s/^#  //p' scripts/services.sh
    exit 2
}

every=(postgres kafka redis mongo mailpit)
shared=$PWD/.tools/services
dir=$shared
ports=
while [[ ${1:-} == --* ]]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --dir) dir=$(cd "$from" && realpath -m "$2") ;;
        --ports) ports=$2 ;;
        *) usage ;;
    esac
    shift 2
done
[ $# -ge 1 ] || usage
# PostgreSQL and Kafka take directories in lists, and in forms of their own.
if [[ $dir == *[,\"\\[:cntrl:]]* ]]; then
    fail "--dir: $dir has a comma, a quotation mark, a backslash or a line's end; PostgreSQL and Kafka cannot use it"
fi
verb=$1
shift
tools=$(cd "$from" && realpath -m "${BANKFORGE_TOOLS:-$OLDPWD/.tools}")

known() {
    local name
    for name in "$@"; do
        [[ " ${every[*]} " == *" $name "* ]] || fail "there is no server $name; there are ${every[*]}"
    done
}

set -a # docker compose and Mailpit read the environment
environment=$(export -p)
. ./.env
eval "$environment" # it comes first, as it does for docker compose
set +a
. scripts/tools.sh
. scripts/servers/software.sh
. scripts/servers/ports.sh

engine() {
    [ "${BANKFORGE_ENGINE:-}" != none ] && command -v docker >/dev/null &&
        docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# lines prints how the bank reaches the servers.
lines() {
    local name host=127.0.0.1
    for name in "$@"; do
        case $name in
            postgres)
                echo -n "export BANKFORGE_POSTGRES=postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@$host:$PORT_POSTGRES"
                echo "/$POSTGRES_DB?sslmode=disable"
                ;;
            kafka) echo "export BANKFORGE_KAFKA=$host:$PORT_KAFKA" ;;
            redis) echo "export BANKFORGE_REDIS=redis://$host:$PORT_REDIS/0" ;;
            mongo) echo "export BANKFORGE_MONGO=mongodb://$host:$PORT_MONGO/bankforge" ;;
            mailpit)
                echo "export BANKFORGE_SMTP=smtp://$host:$PORT_SMTP"
                echo "export BANKFORGE_MAILPIT=http://$host:$PORT_MAILPIT" # its REST API
                ;;
        esac
    done
}

if engine; then . scripts/servers/engine.sh; else . scripts/servers/native.sh; fi

mkdir -p "$dir"
command -v flock >/dev/null || debian flock=util-linux
exec 9>"$dir/lock"
case $verb in
    up)
        known "$@"
        [ $# -gt 0 ] || set -- "${every[@]}"
        flock 9
        make_ports
        take_ports
        up "$@"
        lines "$@" >&3
        ;;
    down)
        [ $# -eq 0 ] || usage
        flock 9
        take_ports
        down
        ;;
    install)
        known "$@"
        [ $# -gt 0 ] || set -- "${every[@]}"
        install_software "$@"
        ;;
    start | stop | kill | wipe | pause | resume)
        [ $# -eq 1 ] || [ "$verb $#-${2:-}" = "stop 2-now" ] || usage
        known "$1"
        flock 9
        take_ports
        "one_$verb" "$@"
        ;;
    pid)
        [ $# -eq 1 ] || usage
        known "$1"
        take_ports
        one_pid "$1" >&3
        ;;
    *) usage ;;
esac
