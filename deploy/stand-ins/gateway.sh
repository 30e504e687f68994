#!/bin/bash
# Put the environment's variables into the templates, as the official image's entry point does.
set -euo pipefail

names=$(compgen -e | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/' || true)
for template in /etc/nginx/templates/*.template; do
    file=$(basename "$template" .template)
    envsubst "$names" < "$template" > "${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}/$file"
done
exec "$@"
