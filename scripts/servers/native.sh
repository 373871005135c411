# Sourced by scripts/services.sh: servers as processes of this machine. For each NAME there is start_NAME, which makes
# its data when there is none and launches it, and answers_NAME. Everything of a
# server is in $dir/NAME: data, log, and pid with the time at which the process began, as numbers come again.

launch() { # launch NAME COMMAND...: in a session of its own, so that it outlives us; without our locks and our output
    local name=$1
    shift
    mkdir -p "$dir/$name"
    setsid "$@" </dev/null >>"$dir/$name/log" 2>&1 3>&- 8>&- 9>&- &
    echo "$! $(began $!)" >"$dir/$name/pid"
}

# began prints when a process began, in ticks since the machine started; nothing when it has ended. Killed, its first
# thread may end before the others, which still hold its ports.
began() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    # shellcheck disable=SC2086 # words
    set -- ${stat##*) }
    if [ "$1" != Z ] || [ "${18}" -gt 1 ]; then echo "${20}"; fi
}

# pid_of prints the process of a server that runs, or nothing.
pid_of() {
    local pid since
    [ -f "$dir/$1/pid" ] || return 0
    read -r pid since <"$dir/$1/pid" || return 0
    if [ -n "$since" ] && [ "$(began "$pid")" = "$since" ]; then echo "$pid"; fi
}

# family prints a process and its children: PostgreSQL has one for each connection.
family() { echo "$1" && { cat "/proc/$1/task/"*/children 2>/dev/null | tr ' ' '\n' | grep . || true; }; }

# PostgreSQL refuses root; user postgres may have to pass through directories that are not for all.
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups
        --inh-caps=+dac_read_search --ambient-caps=+dac_read_search)
fi

start_postgres() {
    local home=$dir/postgres bin socket
    bin=$(postgres_bin)
    if [ ! -d "$home/data" ]; then
        rm -rf "$home/new"
        install -d -m 0700 "$home" "$home/new" "$home/socket"
        [ "$(id -u)" -ne 0 ] || chown postgres: "$home" "$home/new" "$home/socket"
        # shellcheck disable=SC2086 # words
        "${as_postgres[@]}" "$bin/initdb" -D "$home/new" -U "$POSTGRES_USER" --auth=trust \
            $POSTGRES_INITDB_ARGS >>"$home/log" 2>&1 || return
        mv "$home/new" "$home/data"
    fi
    forget_postmaster
    socket=$home/socket
    [ ${#socket} -le 85 ] || socket= # a socket's whole name has 107 characters at most
    # shellcheck disable=SC2086 # words
    launch postgres "${as_postgres[@]}" "$bin/postgres" -D "$home/data" -p "$PORT_POSTGRES" \
        -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$socket" $POSTGRES_OPTIONS \
        $POSTGRES_MEMORY $POSTGRES_DURABLE
}

# forget_postmaster removes what one that was killed left behind, where nobody has asked for its end yet: PostgreSQL
# takes a zombie for a postmaster that runs.
forget_postmaster() {
    local pid
    [ -f "$dir/postgres/data/postmaster.pid" ] || return 0
    read -r pid <"$dir/postgres/data/postmaster.pid"
    if [ -n "$(began "$pid")" ]; then return; fi
    rm -f "$dir/postgres/data/postmaster.pid" "$dir/postgres/socket/".s.PGSQL.*
}

sql() { psql -qtAX -h 127.0.0.1 -p "$PORT_POSTGRES" -U "$POSTGRES_USER" -d postgres -c "$1"; }

# answers_postgres is true once the databases are there, too: the bank's, and FerretDB's.
answers_postgres() {
    local database
    "$(postgres_bin)/pg_isready" -q -t 2 -h 127.0.0.1 -p "$PORT_POSTGRES" || return 1
    [ ! -f "$dir/postgres/databases" ] || return 0
    for database in "$POSTGRES_DB" ferretdb; do
        [ "$(sql "SELECT 1 FROM pg_database WHERE datname = '$database'")" = 1 ] ||
            sql "CREATE DATABASE $database" || return 1
    done
    touch "$dir/postgres/databases"
}

kafka_properties() {
    local name
    for name in $(compgen -v KAFKA_); do
        echo "$(tr A-Z_ a-z. <<<"${name#KAFKA_}")=${!name}"
    done
    cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$PORT_KAFKA_CONTROLLER
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT_KAFKA,CONTROLLER://127.0.0.1:$PORT_KAFKA_CONTROLLER
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT_KAFKA
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/kafka/data
END
}

# kafka_flags are more for the virtual machine.
kafka_flags=()
if [ -f "$(kafka_home)/classes.jsa" ]; then kafka_flags=("-XX:SharedArchiveFile=$(kafka_home)/classes.jsa"); fi

start_kafka() {
    local home=$dir/kafka java
    mkdir -p "$home"
    java=(java "-Dlog4j2.configurationFile=$PWD/scripts/servers/kafka.log4j2.properties" -cp "$(kafka_home)/*")
    kafka_properties >"$home/server.properties"
    if [ ! -f "$home/data/meta.properties" ]; then
        "${java[@]}" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC kafka.tools.StorageTool format --ignore-formatted \
            -t "a$(head -c 16 /dev/urandom | base64 | tr +/ __ | cut -c2-22)" -c "$home/server.properties" \
            >>"$home/log" 2>&1 || return
    fi
    launch kafka "${java[@]}" "${kafka_flags[@]}" "-Xms$HEAP_KAFKA" "-Xmx$HEAP_KAFKA" \
        -XX:+UseG1GC -XX:MaxGCPauseMillis=20 kafka.Kafka "$home/server.properties"
}

answers_kafka() { kcat -b "127.0.0.1:$PORT_KAFKA" -L -m 3 2>/dev/null | grep -q "broker 1 at"; }

start_redis() {
    mkdir -p "$dir/redis/data"
    # shellcheck disable=SC2086 # words
    launch redis redis-server --bind 127.0.0.1 --port "$PORT_REDIS" --dir "$dir/redis/data" $REDIS_OPTIONS
}

answers_redis() { [ "$(timeout 3 redis-cli -p "$PORT_REDIS" ping 2>/dev/null)" = PONG ]; }

# FerretDB answers before the disk has what it was told, as MongoDB does unless it is asked to wait for its journal: the bank
# builds its history again from where the marks beside it say that it ends.
start_mongo() {
    launch mongo env "GOGC=$GOGC_FERRETDB" "$(ferretdb)" --listen "127.0.0.1:$PORT_MONGO" --postgres \
        "postgres://$POSTGRES_USER@127.0.0.1:$PORT_POSTGRES/ferretdb?sslmode=disable&synchronous_commit=off"
}

# answers_mongo sends the command {ping: 1, $db: "admin"}, and waits for the header of an answer.
answers_mongo() {
    local ping='\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1e\0\0\0'
    ping+='\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0'
    { exec 5<>"/dev/tcp/127.0.0.1/$PORT_MONGO"; } 2>/dev/null || return 1
    # shellcheck disable=SC2059 # it is a format
    printf "$ping" >&5
    local got
    got=$(timeout 3 head -c 16 <&5 | wc -c)
    exec 5>&-
    [ "$got" -eq 16 ]
}

start_mailpit() {
    mkdir -p "$dir/mailpit"
    launch mailpit "$(mailpit)" --smtp "127.0.0.1:$PORT_SMTP" --listen "127.0.0.1:$PORT_MAILPIT" \
        --database "$dir/mailpit/mailpit.db"
}

answers_mailpit() { curl -sf -m 3 -o /dev/null "http://127.0.0.1:$PORT_MAILPIT/readyz"; }

# await returns when a server answers; 1 when it has ended, or has not answered for a minute.
await() {
    local until=$((SECONDS + 60))
    until "answers_$1"; do
        if [ -z "$(pid_of "$1")" ] || [ $SECONDS -ge $until ]; then
            complain "$1 does not answer; its log ends:"
            tail -n 20 "$dir/$1/log" >&2
            return 1
        fi
        sleep 0.05
    done
}

# bring starts a server if it does not run, and returns when it answers.
bring() {
    local port
    if [ -z "$(pid_of "$1")" ]; then
        for port in $(ports_of "$1"); do
            ! in_use "$port" || { complain "$1: port $port is in use"; return 1; }
        done
        "start_$1" || { complain "$1 did not start; see $dir/$1/log"; return 1; }
    fi
    await "$1"
}

up() {
    local name bringing=() bad=0
    if [[ " $* " == *" mongo "* && " $* " != *" postgres "* ]]; then set -- postgres "$@"; fi # FerretDB stands on it
    if ready "$@"; then return; fi
    install_software "$@"
    for name in "$@"; do
        case $name in
            postgres | mongo) ;;
            *) bring "$name" & bringing+=($!) ;;
        esac
    done
    for name in postgres mongo; do # in this order
        [[ " $* " != *" $name "* ]] || bring "$name" || bad=1
    done
    for name in "${bringing[@]}"; do wait "$name" || bad=1; done
    [ $bad -eq 0 ] || fail "not all servers answer"
}

ready() {
    local name
    for name in "$@"; do
        [ -n "$(pid_of "$name")" ] && "answers_$name" || return 1
    done
}

down() {
    local name stopping=()
    for name in kafka redis mongo mailpit; do
        one_stop "$name" &
        stopping+=($!)
    done
    wait "${stopping[@]}"
    one_stop postgres # last: FerretDB uses it
}

one_start() { bring "$1"; }

one_stop() { # one_stop NAME [now]
    local pid signal=TERM
    pid=$(pid_of "$1")
    [ -n "$pid" ] || return 0
    case $1-${2:-} in
        postgres-) signal=INT ;; # without waiting for clients
        postgres-now) signal=QUIT ;;
        *-now) signal=KILL ;;
    esac
    kill "-$signal" "$pid" 2>/dev/null || true
    # shellcheck disable=SC2046 # words
    kill -CONT $(family "$pid") 2>/dev/null || true # it may be paused
    ended "$1" 30 || {
        complain "$1 does not end; killing it"
        one_kill "$1"
    }
}

one_kill() {
    local pid all
    pid=$(pid_of "$1")
    [ -n "$pid" ] || return 0
    all=$(family "$pid")
    # shellcheck disable=SC2086 # words
    kill -KILL $all 2>/dev/null || true
    for pid in $all; do
        while [ -n "$(began "$pid")" ]; do sleep 0.02; done
    done
    rm -f "$dir/$1/pid"
}

one_wipe() {
    [ "$1" != mongo ] || fail "mongo has its data in PostgreSQL"
    one_kill "$1"
    rm -rf "${dir:?}/${1:?}"
}

# It returns when all of it stands still: a signal takes its time.
one_pause() {
    local pid
    signal_all STOP "$1"
    for pid in $(family "$(pid_of "$1")"); do
        while grep -qs '^State:\s*[RSD]' "/proc/$pid/status"; do sleep 0.02; done
    done
}
one_resume() { signal_all CONT "$1"; }

signal_all() {
    local pid
    pid=$(pid_of "$2")
    [ -n "$pid" ] || fail "$2 does not run"
    # shellcheck disable=SC2046 # words
    kill "-$1" $(family "$pid") 2>/dev/null || true # a child may end meanwhile
}

# ended waits at most so many seconds for the end of a server.
ended() {
    local until=$((SECONDS + $2))
    while [ -n "$(pid_of "$1")" ]; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.02
    done
    rm -f "$dir/$1/pid"
}

one_pid() {
    local pid
    pid=$(pid_of "$1")
    [ -n "$pid" ] || fail "$1 does not run"
    echo "$pid"
}
