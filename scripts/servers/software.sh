# Sourced by scripts/services.sh: brings the software of the native servers. What is not Debian's goes to $tools,
# under names that tell its version, so that trees which want others can share the directory.

# install_software brings what the servers NAMES... need. Two at a time take turns.
install_software() {
    local name
    mkdir -p "$tools"
    log=$tools/install.log
    (
        flock 8
        # shellcheck disable=SC2046 # words, each a pair
        debian flock=util-linux $(for name in "$@"; do "packages_$name"; done)
        for name in "$@"; do "software_$name"; done
    ) 8>"$tools/lock"
}

# postgres_bin is where PostgreSQL's commands are: Debian keeps one directory for each version.
postgres_bin() {
    local debian=/usr/lib/postgresql/${VERSION_POSTGRES%%.*}/bin
    if [ -d "$debian" ] || ! command -v pg_config >/dev/null; then echo "$debian"; else pg_config --bindir; fi
}

packages_postgres() { echo "$(postgres_bin)/initdb=postgresql-${VERSION_POSTGRES%%.*}"; }
packages_kafka() { echo "java=openjdk-17-jre-headless mvn=maven kcat=kcat"; }
packages_redis() { echo "redis-server=redis-server redis-cli=redis-tools"; }
packages_mongo() { packages_postgres; }
packages_mailpit() { echo "curl=curl"; }

software_postgres() { :; }
software_redis() { :; }

kafka_home() { echo "$tools/kafka-$VERSION_KAFKA"; }

software_kafka() {
    local home
    home=$(kafka_home)
    if [ ! -d "$home" ]; then
        say "Kafka $VERSION_KAFKA, from Maven"
        rm -rf "$home.new"
        quietly mvn --batch-mode --file scripts/servers/kafka.xml dependency:copy-dependencies \
            -Dkafka.version="$VERSION_KAFKA" -DincludeScope=runtime -DoutputDirectory="$home.new"
        mv "$home.new" "$home"
    fi
    if [ ! -f "$home/classes.jsa" ]; then archive_kafka; fi
}

# archive_kafka runs a broker once, and keeps the classes that it loads as an archive: with it a start takes half the
# processor time. Without one it only takes longer.
archive_kafka() (
    home=$(kafka_home)
    dir=$(mktemp -d)
    trap 'one_kill kafka; rm -rf "$dir"' EXIT
    PORT_KAFKA=$(free_port "")
    PORT_KAFKA_CONTROLLER=$(free_port "=$PORT_KAFKA")
    kafka_flags=("-XX:ArchiveClassesAtExit=$home/classes.new")
    say "an archive of Kafka's classes"
    if bring kafka && one_stop kafka && [ -s "$home/classes.new" ]; then
        mv -f "$home/classes.new" "$home/classes.jsa"
    else
        say "there is no archive of Kafka's classes; it starts without"
    fi
)

# The name of FerretDB's directory tells what it was built from.
ferretdb() {
    local sources=(scripts/ferretdb/go.mod scripts/ferretdb/go.sum scripts/ferretdb/main.go)
    echo "$tools/ferretdb-$VERSION_FERRETDB-$(cat "${sources[@]}" | sha256sum | cut -c1-12)/ferretdb"
}

software_mongo() {
    local binary
    binary=$(ferretdb)
    [ -x "$binary" ] && return
    need go "see https://go.dev/dl for the version in go.mod"
    grep -q "FerretDB v$VERSION_FERRETDB\$" scripts/ferretdb/go.mod || {
        say ".env wants FerretDB $VERSION_FERRETDB, and scripts/ferretdb/go.mod says otherwise"
        exit 1
    }
    say "FerretDB $VERSION_FERRETDB, built from source (a minute, once)"
    quietly go build -C scripts/ferretdb -buildvcs=false -o "$binary.new" .
    mv "$binary.new" "$binary"
}

mailpit() { echo "$tools/mailpit-$VERSION_MAILPIT/mailpit"; }

software_mailpit() {
    local binary
    binary=$(mailpit)
    [ -x "$binary" ] && return
    need go "see https://go.dev/dl for the version in go.mod"
    say "Mailpit $VERSION_MAILPIT, built from source (a minute, once)"
    GOBIN=$(dirname "$binary") quietly go install -buildvcs=false "github.com/axllent/mailpit@v$VERSION_MAILPIT"
}
