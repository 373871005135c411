# The bank as one static binary in an otherwise empty image, run by nobody in particular.
ARG VERSION_GO=1.26.0
FROM golang:${VERSION_GO}-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags="-s -w" -o /image/usr/bin/bankforge ./cmd/bankforge \
    && mkdir -p /image/data /image/etc/ssl/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && install -d -m 1777 /image/tmp

FROM scratch
COPY --from=build /image/usr /usr
COPY --from=build /image/etc /etc
COPY --from=build /image/tmp /tmp
# A new volume at this place takes the owner from here.
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
ENV BANKFORGE_DATA=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/usr/bin/bankforge", "ready", "--url", "http://127.0.0.1:8080"]
ENTRYPOINT ["/usr/bin/bankforge"]
CMD ["serve"]
