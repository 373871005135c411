# Sourced by scripts/services.sh: where a set listens. The shared set uses the ports of .env; every other has ports of
# its own, which it keeps in $dir/ports.

port_names=(POSTGRES KAFKA KAFKA_CONTROLLER REDIS MONGO SMTP MAILPIT)

# ports_of prints those of a server.
ports_of() {
    case $1 in
        postgres) echo "$PORT_POSTGRES" ;;
        kafka) echo "$PORT_KAFKA" "$PORT_KAFKA_CONTROLLER" ;;
        redis) echo "$PORT_REDIS" ;;
        mongo) echo "$PORT_MONGO" ;;
        mailpit) echo "$PORT_SMTP" "$PORT_MAILPIT" ;;
    esac
}

in_use() { (exec 5<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints one below those that clients' connections take by themselves, and none of the lines NAME=PORT in $1.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM << 15 | RANDOM) % 12000))
        in_use $port || [[ $1 =~ =$port($'\n'|$) ]] || break
    done
    echo $port
}

# make_ports says where a new set listens.
make_ports() {
    local name next=${ports:-auto}
    [[ $next =~ ^(auto|[0-9]+)$ ]] || fail "--ports: $ports is neither auto nor a number"
    if [ -f "$dir/ports" ] || { [ -z "$ports" ] && [ "$dir" = "$shared" ]; }; then return; fi
    : >"$dir/ports.new"
    for name in "${port_names[@]}"; do
        if [ "${ports:-auto}" = auto ]; then next=$(free_port "$(cat "$dir/ports.new")"); fi
        echo "PORT_$name=$next" >>"$dir/ports.new"
        next=$((next + 1))
    done
    mv "$dir/ports.new" "$dir/ports"
}

# take_ports sets PORT_... to where the set listens.
take_ports() {
    if [ -f "$dir/ports" ]; then . "$dir/ports"; fi
}
