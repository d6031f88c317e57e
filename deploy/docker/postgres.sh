#!/bin/bash
# Run once, by the image of PostgreSQL, when its folder of data is empty. Two databases with an owner each: what controllers work on, and
# the runtime's own state, which no role of the controllers can open.
set -euo pipefail
psql --quiet --set=ON_ERROR_STOP=1 --username postgres \
    --set=controllers="$CONTROLLERS_PASSWORD" --set=state="$STATE_PASSWORD" <<'SQL'
CREATE ROLE controllers LOGIN PASSWORD :'controllers';
CREATE ROLE magic_state LOGIN PASSWORD :'state';
CREATE DATABASE controllers OWNER controllers;
CREATE DATABASE magic_state OWNER magic_state;
REVOKE CONNECT ON DATABASE controllers FROM PUBLIC;
REVOKE CONNECT ON DATABASE magic_state FROM PUBLIC;
SQL
