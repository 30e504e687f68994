#!/bin/bash
# Source what is in /docker-entrypoint.d, then put the environment's variables into the templates, as
# the official image's entry point does: https://github.com/nginx/docker-nginx
set -eo pipefail

for file in /docker-entrypoint.d/*.envsh; do
    # shellcheck source=deploy/gateway/lists.envsh
    if [[ -x $file ]]; then source "$file"; fi
done
names=$(compgen -e | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/' || true)
templates=/etc/nginx/templates
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
find "$templates" -follow -type f -name '*.template' -printf '%P\n' | while read -r template; do
    mkdir -p "$output/$(dirname "$template")"
    envsubst "$names" < "$templates/$template" > "$output/${template%.template}"
done
exec "$@"
