# Sourced by scripts that need a running bank: builds it, starts it on free ports with a new data
# directory, and stops it when the script ends. Sets $url, $data and $bankforge.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_server() { # start_server FLAGS...
    go build -buildvcs=false -o bin/bankforge ./cmd/bankforge
    bankforge=$PWD/bin/bankforge
    data=$(mktemp -d)
    url=http://127.0.0.1:$(free_port)
    "$bankforge" serve --data "$data" --http "${url#http://}" --admin "" "$@" 2>"$data/log" &
    server=$!
    trap stop_server EXIT
    local tries=0
    until curl --silent --fail --output /dev/null "$url/readyz"; do
        if ! kill -0 $server 2>/dev/null || [ $((tries += 1)) -gt 300 ]; then
            echo "the server did not start:" >&2
            tail -n 40 "$data/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

stop_server() {
    local verdict=$?
    kill -TERM "$server" 2>/dev/null && wait "$server"
    if [ $verdict -ne 0 ]; then tail -n 20 "$data/log" >&2; fi
    rm -rf "$data"
    exit $verdict
}
