# A small archive of Debian packages, of one package in two versions, and the same archive dated: as
# it was at two moments. Debian's own tools make and sign it, with a key that nobody keeps.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# Without versions: the archive keeps the newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends apt-utils busybox sqop \
    && rm -rf /var/lib/apt/lists/*

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /srv
RUN sqop generate-key > /key && sqop extract-cert < /key > key.asc \
    && for version in 99.1 99.2; do \
        mkdir -p /package/DEBIAN /package/etc; \
        printf '%s\n' "Package: media-types" "Version: $version" "Architecture: all" \
            "Maintainer: Nobody <nobody@example.org>" "Description: for tests" \
            > /package/DEBIAN/control; \
        echo "text/x-test v$version" > /package/etc/mime.types; \
        env --chdir /package md5sum etc/mime.types > /package/DEBIAN/md5sums; \
        dpkg-deb --root-owner-group --build /package /media-types_${version}_all.deb; \
    done

# The first version is in the archive from the start; the second one comes to its security archive.
# Lists of a moment have expired since, as Debian's have.
RUN publish() { \
        local folder=$1 suite=$2 valid=$3 index; shift 3; \
        index=$folder/dists/$suite/main/binary-$(dpkg --print-architecture); \
        mkdir -p "$folder/pool" "$index"; \
        for version in "$@"; do cp "/media-types_${version}_all.deb" "$folder/pool"; done; \
        env --chdir "$folder" apt-ftparchive packages pool > "$index/Packages"; \
        set -- "Codename=$suite" "Suite=$suite" Components=main \
            "Architectures=$(dpkg --print-architecture)"; \
        { echo "Valid-Until: $valid" \
            && apt-ftparchive "${@/#/-oAPT::FTPArchive::Release::}" release "${index%/*/*}"; \
        } > /Release; \
        sqop inline-sign --as clearsigned /key < /Release > "${index%/*/*}/InRelease"; \
    }; \
    suite=$(. /etc/os-release; echo "$VERSION_CODENAME"); \
    old="Thu, 01 Jan 2026 12:00:00 UTC" new="Thu, 01 Jan 2099 12:00:00 UTC"; \
    publish archive/debian/20260101T000000Z "$suite" "$old" 99.1; \
    publish archive/debian/20260201T000000Z "$suite" "$old" 99.1; \
    publish archive/debian-security/20260101T000000Z "$suite-security" "$old"; \
    publish archive/debian-security/20260201T000000Z "$suite-security" "$old" 99.2; \
    publish debian "$suite" "$new" 99.1; \
    publish before "$suite-security" "$new"; \
    publish after "$suite-security" "$new" 99.2; \
    ln -s before debian-security

EXPOSE 80
CMD ["busybox", "httpd", "-f", "-p", "80", "-h", "/srv"]
