# The runtime image is FROM scratch: the few Debian packages that CPython needs, unpacked; the
# locked dependencies; this project's wheel. It has no shell and no package manager.
#
#   docker build -t service .                    the image (target `runtime`)
#   docker build -t service --target test .      + unit tests, run by its command
#   docker build -t service --target dev .       + a debugger; serves /src, reloads
#   docker build -t service --target debug .     + bash, curl, ps
#
# There is no `# syntax=` line on purpose: the engine's own frontend builds this file, and no
# second image has to be pulled. Use only what Docker 25 can read.

# The version of Python that the base's Debian has; the one place that says so.
ARG PYTHON=3.13

# A literal line, so that Dependabot can read and update it.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# Empty, or a moment such as 20261101T000000Z: all that comes from Debian is then as it was at that
# moment, from the dated archive that the official base names in comments beside its own archive.
ARG DEBIAN_SNAPSHOT=""

# apt fails when it can't get one of its lists; by default it would go on with old ones. Lists of a
# moment have mostly expired; their signatures are checked all the same.
RUN echo 'APT::Update::Error-Mode "any";' > /etc/apt/apt.conf.d/strict \
    && if [ -n "$DEBIAN_SNAPSHOT" ]; then \
        sources=/etc/apt/sources.list.d/debian.sources; \
        dated='^# (http[^ ]+)/[0-9]{8}T[0-9]{6}Z$'; \
        if ! grep -Eqs "$dated" $sources; then echo "no dated archive in $sources"; exit 1; fi; \
        sed -Ei "/^URIs:/d; s,$dated,URIs: \1/$DEBIAN_SNAPSHOT," $sources; \
        echo 'Acquire::Check-Valid-Until "false";' >> /etc/apt/apt.conf.d/strict; \
    fi

# For the bytecode that is made here: without the columns of each instruction, which only draw the
# ^^^^ in tracebacks, the compressed image is 2 MB smaller.
ENV PYTHONNODEBUGRANGES=1

# A stage knows an argument from before the first stage only if it, or a stage below it, names it.
ARG PYTHON

# ---- packages: what the image has of Debian, as the archive has it today ------------------------
FROM base AS packages
# A pipe fails when any part of it does.
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /debs

# Downloaded and verified by apt, but unpacked without being installed: no maintainer script runs,
# so nothing brings in a shell. Every shared library that the standard library links to is here;
# a contract test imports each of its modules. A fork's own are in requirements/debian.list, what the
# database driver links to is in database.list. The * is for a service without a database, which has
# no such file (docs/without-database.md): nothing is copied then.
COPY requirements/debian.list requirements/database.list* /lists/
RUN apt-get update \
    && chown _apt . \
    && sed 's/#.*//' /lists/*.list | xargs apt-get download \
        base-files ca-certificates media-types netbase tzdata \
        libc6 gcc-14-base libgcc-s1 libstdc++6 zlib1g libzstd1 liblzma5 libbz2-1.0 \
        libssl3t64 libffi8 libsqlite3-0 libexpat1 libuuid1 \
        libpython$PYTHON-minimal libpython$PYTHON-stdlib python$PYTHON-minimal \
    && rm -rf /var/lib/apt/lists/*


# ---- rootfs: the file system of the image, from those packages ----------------------------------
FROM packages AS rootfs
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# base-files comes first: it makes /bin, /lib and /lib64 links into /usr, where others would make
# them directories. Scanners find each package's control file and checksums in status.d; Debian
# lists those of configuration files apart.
WORKDIR /rootfs
RUN mkdir -p var/lib/dpkg/status.d \
    && for deb in /debs/base-files_*.deb /debs/*.deb; do \
        listing=var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package); \
        dpkg-deb --extract "$deb" .; \
        dpkg-deb --field "$deb" > "$listing"; \
        dpkg-deb --info "$deb" md5sums > "$listing.md5sums"; \
        for file in $(dpkg-deb --info "$deb" conffiles 2>/dev/null | grep '^/'); do \
            md5sum "${file#/}" >> "$listing.md5sums"; \
        done; \
    done

# Remove what no service reads: character sets of the C library (8 MB; Python has its own), scripts,
# translations, manuals, documentation other than the copyright files that licences require, and
# directories that others may write to. The project's own sitecustomize.py replaces Debian's hook
# for crash reports. Remove from the lists of checksums what is gone.
RUN rm -rf usr/{games,include,src} usr/sbin/* usr/lib/*-linux-gnu/gconv usr/lib/python$PYTHON/test \
        {etc,usr/lib}/python$PYTHON/sitecustomize.py \
        usr/share/{base-files,binfmts,bug,dict,gcc,gdb,info,lintian,locale,man} \
        etc/{ca-certificates,default,dpkg,issue,issue.net,profile.d,skel,update-motd.d} \
        boot home root var/{backups,cache,local,lock,log,run,spool,tmp} var/lib/misc \
    && rmdir --ignore-fail-on-non-empty usr/share/misc \
    && find usr/share/doc -mindepth 2 ! -type d ! -name copyright -delete \
    && for sums in var/lib/dpkg/status.d/*.md5sums; do \
        while read -r sum file; do \
            if [ -e "$file" ]; then echo "$sum  $file"; fi; \
        done < "$sums" > /tmp/kept; \
        cat /tmp/kept > "$sums"; \
    done

# What the packages' own scripts would have done: the certificates as one file where OpenSSL looks
# for it, the time zone, the command `python3`, a user without rights. /tmp and /data are writable
# for all, and sticky: whatever user the service runs as, it can write there but not touch another
# user's files.
RUN cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt \
    && mkdir -p usr/lib/ssl opt/venv app data \
    && ln -s /etc/ssl/certs/ca-certificates.crt usr/lib/ssl/cert.pem \
    && ln -s /usr/share/zoneinfo/Etc/UTC etc/localtime \
    && ln -s /run var/run \
    && ln -s "python$PYTHON" usr/bin/python3 \
    && echo 'root:x:0:0:root:/:/usr/sbin/nologin' > etc/passwd \
    && echo 'nonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin' >> etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' > etc/group \
    && chmod 1777 tmp data

# Without bytecode every start compiles the standard library again, since the root is read-only.
# `unchecked-hash` needs no file times, so builds agree. The image's own interpreter compiles it,
# which also shows that nothing is missing in the root; -B, so that it writes no bytecode of the
# usual kind for what it imports. The times are set so that a later build of the same files makes
# the same layer.
RUN chroot . python3 -B -m compileall -qf --invalidation-mode unchecked-hash "/usr/lib/python$PYTHON" \
    && find . -exec touch --no-dereference --date=@0 {} +


# ---- build: a pip that the image never sees -----------------------------------------------------
FROM base AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# python3-venv brings pip for virtual environments; compilers are not needed, since every locked
# dependency but one has a wheel that is taken. No versions: the archive keeps the newest alone,
# with its security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /pip \
    && python3 -m venv --without-pip /opt/venv

# A lock file is installed and never resolved: what it names, with the hashes that it names, and
# nothing that a newer release of some package might require (--no-deps). `pip check` then shows
# whether that is complete. So any pip will do, and today's lock file installs the same next year.
# For a company's proxy that inspects TLS, pass its certificates as a secret, which no layer keeps:
# `--secret id=ca,src=/etc/ssl/certs/ca-certificates.crt`.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
WORKDIR /src


# ---- wheel: this project, built as any other Python project -------------------------------------
FROM build AS wheel

RUN --mount=type=bind,source=requirements/build.txt,target=build.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip install \
        --no-deps --require-hashes -r build.txt \
    && /pip/bin/pip check

COPY pyproject.toml ./
COPY src src
RUN /pip/bin/pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /wheel .


# ---- driver: PostgreSQL's, the one dependency that is compiled here -----------------------------
FROM build AS driver

# Its wheel brings an OpenSSL, a libpq, a Kerberos and an LDAP of its own, which Debian never patches
# and no scanner sees. This one links to the root's. Without a database there is nothing to compile,
# and the folder stays empty.
COPY requirements/debian.list requirements/database.list* /lists/
# The compiler without versions, as in `build`: the archive keeps the newest alone.
# hadolint ignore=DL3008
RUN mkdir /wheel \
    && if [ -e /lists/database.list ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends gcc libc6-dev libpq-dev python3-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi

# Without symbols (-g0, -s), which would name the folder that pip makes up anew for each build; with
# what Debian hardens its own packages by.
ENV CFLAGS="-O2 -g0 -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=3" \
    LDFLAGS="-Wl,-z,relro,-z,now -s"

# The lock has the source's hash alone. Its other packages are dependencies as well, and left here.
COPY requirements/build.txt requirements/driver.txt* ./
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    if [ -e driver.txt ]; then \
        PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip install \
            --no-deps --require-hashes -r build.txt \
        && /pip/bin/pip check \
        && PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip wheel \
            --no-deps --require-hashes --no-build-isolation --no-cache-dir \
            --no-binary psycopg-c --wheel-dir /wheel -r driver.txt; \
    fi


# ---- dependencies: the locked ones, changed more rarely than the project ------------------------
FROM build AS dependencies
# As in `build`, whose it is already: hadolint looks at each stage by itself.
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# With what requirements/optional.list names. Without the tests and headers that unused.list names;
# the records lose them too. One process compiles (no -j): what it has compiled before shows in the
# references inside a file of bytecode, so several that share the work at random now and then give
# other bytes.
COPY requirements/runtime.txt requirements/database.txt* ./
RUN --mount=type=bind,from=driver,source=/wheel,target=/wheel \
    --mount=type=bind,source=requirements/tracing.txt,target=tracing.txt \
    --mount=type=bind,source=requirements/optional.list,target=optional.list \
    --mount=type=bind,source=requirements/unused.list,target=unused.list \
    --mount=type=bind,source=deploy/remove_unused.py,target=remove_unused.py \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip --python /opt/venv install \
        --no-deps --require-hashes --no-compile -r runtime.txt \
    && if [ -e database.txt ]; then \
        PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip --python /opt/venv install \
            --no-deps --require-hashes --no-compile -r database.txt \
        && /pip/bin/pip --python /opt/venv install --no-deps --no-compile --no-index \
            --find-links /wheel psycopg-c; \
    fi \
    && sed 's/ *#.*//' optional.list | PIP_CERT="$(find /run/secrets -name ca)" xargs -I LOCK \
        /pip/bin/pip --python /opt/venv install \
            --no-deps --require-hashes --no-compile -r LOCK.txt \
    && python3 -B remove_unused.py unused.list /opt/venv/lib/python$PYTHON/site-packages \
    && python3 -B -m compileall -qf --invalidation-mode unchecked-hash /opt/venv/lib \
    && rm -f /opt/venv/bin/[Aa]ctivate* /opt/venv/.gitignore \
    && find /opt/venv -exec touch --no-dereference --date=@0 {} +


# ---- project: the wheel's files, as the image has them: the template's and the fork's ----------
FROM dependencies AS project

# Into folders of their own, so that the image gets them as layers of their own. The dependencies
# are in place and locked, so none is resolved here. By its name and not by its file, whose path
# pip would note down for all time.
WORKDIR /project
RUN --mount=from=wheel,source=/wheel,target=/wheel \
    wheel=$(basename /wheel/*.whl) \
    && /pip/bin/pip --python /opt/venv install --no-compile --no-deps --no-index \
        --find-links /wheel --prefix /project/opt/venv "${wheel%%-*}" \
    && PYTHONPATH=/project/opt/venv/lib/python$PYTHON/site-packages \
        /pip/bin/pip --python /opt/venv check
COPY gunicorn.conf.py .flaskenv app/
COPY deploy/sitecustomize.py opt/venv/lib/python$PYTHON/site-packages/
# No bytecode for what runs once, migrations and settings: the layer is smaller without.
RUN python3 -B -m compileall -qf -s /project -p / -x 'migrations|__main__|gunicorn' \
        --invalidation-mode unchecked-hash /project
# The template's part, which a fork hardly ever changes, becomes the layer before: a change in
# src/app pushes and pulls the last one alone. That has the wheel's metadata as well, since its
# RECORD names the hash of every file. The health check gets a path without Python's version. The
# modes are set, since those of a checkout depend on its user's umask.
RUN site=opt/venv/lib/python$PYTHON/site-packages \
    && mkdir -p "/drydock/$site" /drydock/opt/drydock \
    && mv "$site/drydock" "$site/sitecustomize.py" "$site/__pycache__" "/drydock/$site" \
    && ln -s "/$site/drydock/healthcheck.py" /drydock/opt/drydock/ \
    && chmod -R u=rwX,go=rX . /drydock \
    && find . /drydock -exec touch --no-dereference --date=@0 {} +


# ---- runtime: the image -------------------------------------------------------------------------
FROM scratch AS runtime

COPY --from=rootfs /rootfs /
COPY --from=dependencies /opt/venv /opt/venv

# Where gunicorn looks for its settings file. Before the project's files, so that theirs is the last
# layer: each layer after a changed one changes as well. (This one is empty.)
WORKDIR /app
COPY --from=project /drydock /
COPY --from=project /project /

# Unbuffered, since what is in a buffer when a container is killed is lost.
ENV APP_ENV=production APP_HOST=0.0.0.0 DATA_DIR=/data PATH=/opt/venv/bin:/usr/bin PYTHONUNBUFFERED=1

# The embedded database, where no DATABASE_URL is set: as a volume it is writable on a read-only
# root, and not a part of the container's own layer, which is removed with it.
VOLUME /data

# Numeric, since Kubernetes' runAsNonRoot can't look names up. Any other user works as well.
USER 65532:65532

# Documentation only: the service and its metrics. APP_PORT and METRICS_PORT change them.
EXPOSE 5000 9464

# gunicorn's graceful stop. SIGQUIT, which some images use, can deadlock its threads.
STOPSIGNAL SIGTERM

# No shell and no curl: a small script, by its path, isolated (-I) and without site-packages (-S).
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python3", "-IS", "/opt/drydock/healthcheck.py"]

# The exec form makes gunicorn PID 1, so that it gets Docker's signals.
CMD ["gunicorn"]

# Last, since they change with every commit. `make image` passes them, from pyproject.toml and
# git; what was not passed stays empty, since a wrong label is worse than none. OCI has no label for
# the last one, Debian none at all: the moment of its archive that the packages are of.
ARG TITLE="" VERSION="" REVISION="" CREATED="" SOURCE="" LICENSES="" DEBIAN_SNAPSHOT=""
ENV APP_REVISION=$REVISION
LABEL org.opencontainers.image.title=$TITLE \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.created=$CREATED \
    org.opencontainers.image.source=$SOURCE \
    org.opencontainers.image.licenses=$LICENSES \
    org.debian.snapshot=$DEBIAN_SNAPSHOT


# ---- test: the same image with the unit tests, run by its own interpreter -----------------------
FROM build AS test-tools

RUN --mount=type=bind,source=requirements/test.txt,target=test.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip --python /opt/venv install \
        --no-deps --require-hashes --target /tools -r test.txt \
    && PYTHONPATH=/tools /pip/bin/pip --python /opt/venv check

FROM runtime AS test
COPY --from=test-tools /tools /tools
COPY --chmod=644 pyproject.toml gunicorn.conf.py ./
COPY --chmod=755 tests/app tests/app
COPY --chmod=755 tests/drydock tests/drydock
COPY --chmod=644 tests/applications.py tests/database.py tests/workers.py tests/
COPY --chmod=644 requirements/runtime.txt requirements/database.txt* requirements/
# Development, as on a developer's machine: the tests set what they need themselves.
ENV APP_ENV=development COVERAGE_FILE=/tmp/coverage PYTHONPATH=/tools
CMD ["python3", "-m", "pytest", "-p", "no:cacheprovider", "tests/drydock/unit"]


# ---- dev: the same image for development, run by `make dev` -------------------------------------
FROM build AS dev-tools

RUN --mount=type=bind,source=requirements/debug.txt,target=debug.txt \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    PIP_CERT="$(find /run/secrets -name ca)" /pip/bin/pip --python /opt/venv install \
        --no-deps --require-hashes --target /tools -r debug.txt \
    && PYTHONPATH=/tools /pip/bin/pip --python /opt/venv check

FROM runtime AS dev
# Among the dependencies, where the reloader does not look for edits.
ARG PYTHON
COPY --from=dev-tools /tools /opt/venv/lib/python$PYTHON/site-packages
COPY --chmod=644 deploy/dev/serve.py ./
# The sources are mounted at /src and take precedence over the installed package. Their bytecode is
# kept in memory, since the root is read-only. The last variable stops debugpy's warning about
# Python's own frozen modules.
ENV APP_ENV=development PYTHONPATH=/src PYTHONPYCACHEPREFIX=/tmp/bytecode \
    PYDEVD_DISABLE_FILE_VALIDATION=1
CMD ["python3", "serve.py"]


# ---- debug: the same image with a shell and tools laid over it ----------------------------------
FROM base AS debug-tools

# Without versions, as in `build`: the archive keeps the newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        bash ca-certificates curl iproute2 less procps strace \
    && rm -rf /var/lib/apt/lists/* \
    && echo 'nonroot:x:65532:65532:nonroot:/:/bin/bash' >> /etc/passwd \
    && echo 'nonroot:x:65532:' >> /etc/group

FROM runtime AS debug
# The tools with all that they need; and what apt needs to install more, as root.
COPY --from=debug-tools /etc /etc
COPY --from=debug-tools /usr /usr
COPY --from=debug-tools /var /var
ENV PATH=$PATH:/usr/sbin:/bin


# The default target is the last stage.
FROM runtime
