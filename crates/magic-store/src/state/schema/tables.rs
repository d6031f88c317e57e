//! The tables, as each database has them. A text that was released is never
//! edited, because its hash is recorded where it was applied: new ones go below.
//!
//! Times are milliseconds since the epoch, lists are JSON text, and truth is 0 or 1,
//! on both. `revision` and `log_usage` have one row each. Columns of PostgreSQL
//! that count up by themselves are numbered by the database while the writer holds
//! its turn, so that whoever has seen a number has seen all below it.

use super::Migration;

pub(super) const MIGRATIONS: [Migration; 3] = [FIRST_TABLES, RATES_OF_KEYS, WHEELS];

/// A key may have a rate of its own: requests in a second, and at once.
const RATES_OF_KEYS: Migration = Migration {
    name: "rates_of_keys",
    sqlite: "
ALTER TABLE api_keys ADD COLUMN rate INTEGER;
ALTER TABLE api_keys ADD COLUMN burst INTEGER;
",
    postgres: "
ALTER TABLE api_keys ADD COLUMN rate bigint;
ALTER TABLE api_keys ADD COLUMN burst bigint;
",
};

/// The wheels of versions: which files a version was deployed with, and those files in pieces.
const WHEELS: Migration = Migration {
    name: "wheels",
    sqlite: "
CREATE TABLE wheels (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  put_at INTEGER NOT NULL
) STRICT;
CREATE TABLE wheel_pieces (
  digest TEXT NOT NULL REFERENCES wheels (digest),
  number INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (digest, number)
) STRICT;
CREATE TABLE version_wheels (
  controller TEXT NOT NULL,
  version TEXT NOT NULL,
  file TEXT NOT NULL,
  digest TEXT NOT NULL REFERENCES wheels (digest),
  PRIMARY KEY (controller, version, file),
  FOREIGN KEY (controller, version) REFERENCES versions (controller, version)
) STRICT;
CREATE INDEX version_wheels_digest ON version_wheels (digest);
",
    postgres: "
CREATE TABLE wheels (
  digest text PRIMARY KEY,
  size bigint NOT NULL,
  complete bigint NOT NULL,
  created_at bigint NOT NULL,
  put_at bigint NOT NULL
);
CREATE TABLE wheel_pieces (
  digest text NOT NULL REFERENCES wheels (digest),
  number bigint NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (digest, number)
);
ALTER TABLE wheel_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE version_wheels (
  controller text NOT NULL,
  version text NOT NULL,
  file text NOT NULL,
  digest text NOT NULL REFERENCES wheels (digest),
  PRIMARY KEY (controller, version, file),
  FOREIGN KEY (controller, version) REFERENCES versions (controller, version)
);
CREATE INDEX version_wheels_digest ON version_wheels (digest);
",
};

const FIRST_TABLES: Migration = Migration {
    name: "first_tables",
    sqlite: "
CREATE TABLE revision (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL,
  keys INTEGER NOT NULL
) STRICT;
INSERT INTO revision VALUES (1, 0, 0);
CREATE TABLE bundles (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  put_at INTEGER NOT NULL,
  bytes BLOB NOT NULL
) STRICT;
CREATE TABLE versions (
  controller TEXT NOT NULL,
  version TEXT NOT NULL,
  digest TEXT NOT NULL REFERENCES bundles (digest),
  packages_digest TEXT,
  contract TEXT NOT NULL,
  allow_breaking INTEGER NOT NULL,
  deployed_at INTEGER NOT NULL,
  deployed_by TEXT NOT NULL,
  generation INTEGER NOT NULL,
  PRIMARY KEY (controller, version)
) STRICT;
CREATE INDEX versions_digest ON versions (digest);
CREATE TABLE deployments (
  controller TEXT PRIMARY KEY,
  active TEXT NOT NULL,
  previous TEXT,
  canary TEXT,
  canary_percent INTEGER,
  canary_error_margin REAL,
  canary_since INTEGER,
  generation INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  FOREIGN KEY (controller, active) REFERENCES versions (controller, version),
  FOREIGN KEY (controller, previous) REFERENCES versions (controller, version),
  FOREIGN KEY (controller, canary) REFERENCES versions (controller, version)
) STRICT;
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  controller TEXT NOT NULL,
  kind TEXT NOT NULL,
  version TEXT,
  from_version TEXT,
  percent INTEGER,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT,
  generation INTEGER NOT NULL
) STRICT;
CREATE INDEX events_controller ON events (controller, id);
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  secret_sha256 BLOB NOT NULL,
  roles TEXT NOT NULL,
  controllers TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  revoked_by TEXT
) STRICT;
CREATE TABLE nodes (
  name TEXT PRIMARY KEY,
  program TEXT NOT NULL,
  policy TEXT NOT NULL,
  generation INTEGER NOT NULL,
  address TEXT,
  at INTEGER NOT NULL
) STRICT;
CREATE TABLE audit_heads (
  node TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,
  hash TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE TABLE executions (
  request_id TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  node TEXT NOT NULL,
  controller TEXT NOT NULL,
  version TEXT NOT NULL,
  caller TEXT,
  outcome TEXT NOT NULL,
  duration_us INTEGER NOT NULL,
  cpu_ms INTEGER,
  peak_memory_bytes INTEGER,
  timeline TEXT,
  PRIMARY KEY (request_id, started_at, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX executions_age ON executions (started_at);
CREATE TABLE logs (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  node TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  controller TEXT NOT NULL,
  version TEXT NOT NULL,
  request_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  message TEXT NOT NULL,
  fields TEXT,
  bytes INTEGER NOT NULL,
  UNIQUE (node, sequence)
) STRICT;
CREATE INDEX logs_controller ON logs (controller, cursor);
CREATE INDEX logs_request ON logs (request_id, cursor);
CREATE TABLE log_usage (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO log_usage VALUES (1, 0);
",
    postgres: "
CREATE TABLE revision (
  id bigint PRIMARY KEY CHECK (id = 1),
  generation bigint NOT NULL,
  keys bigint NOT NULL
);
INSERT INTO revision VALUES (1, 0, 0);
CREATE TABLE bundles (
  digest text PRIMARY KEY,
  size bigint NOT NULL,
  created_at bigint NOT NULL,
  put_at bigint NOT NULL,
  bytes bytea NOT NULL
);
ALTER TABLE bundles ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE versions (
  controller text NOT NULL,
  version text NOT NULL,
  digest text NOT NULL REFERENCES bundles (digest),
  packages_digest text,
  contract text NOT NULL,
  allow_breaking bigint NOT NULL,
  deployed_at bigint NOT NULL,
  deployed_by text NOT NULL,
  generation bigint NOT NULL,
  PRIMARY KEY (controller, version)
);
CREATE INDEX versions_digest ON versions (digest);
CREATE TABLE deployments (
  controller text PRIMARY KEY,
  active text NOT NULL,
  previous text,
  canary text,
  canary_percent bigint,
  canary_error_margin double precision,
  canary_since bigint,
  generation bigint NOT NULL,
  changed_at bigint NOT NULL,
  FOREIGN KEY (controller, active) REFERENCES versions (controller, version),
  FOREIGN KEY (controller, previous) REFERENCES versions (controller, version),
  FOREIGN KEY (controller, canary) REFERENCES versions (controller, version)
);
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  controller text NOT NULL,
  kind text NOT NULL,
  version text,
  from_version text,
  percent bigint,
  at bigint NOT NULL,
  actor text NOT NULL,
  reason text,
  generation bigint NOT NULL
);
CREATE INDEX events_controller ON events (controller, id);
CREATE TABLE api_keys (
  id text PRIMARY KEY,
  name text NOT NULL,
  secret_sha256 bytea NOT NULL,
  roles text NOT NULL,
  controllers text,
  created_at bigint NOT NULL,
  created_by text NOT NULL,
  expires_at bigint,
  revoked_at bigint,
  revoked_by text
);
CREATE TABLE nodes (
  name text PRIMARY KEY,
  program text NOT NULL,
  policy text NOT NULL,
  generation bigint NOT NULL,
  address text,
  at bigint NOT NULL
);
CREATE TABLE audit_heads (
  node text PRIMARY KEY,
  sequence bigint NOT NULL,
  hash text NOT NULL,
  at bigint NOT NULL
);
CREATE TABLE executions (
  request_id text NOT NULL,
  started_at bigint NOT NULL,
  node text NOT NULL,
  controller text NOT NULL,
  version text NOT NULL,
  caller text,
  outcome text NOT NULL,
  duration_us bigint NOT NULL,
  cpu_ms bigint,
  peak_memory_bytes bigint,
  timeline text,
  PRIMARY KEY (request_id, started_at, node)
);
CREATE INDEX executions_age ON executions (started_at);
CREATE TABLE logs (
  cursor bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node text NOT NULL,
  sequence bigint NOT NULL,
  controller text NOT NULL,
  version text NOT NULL,
  request_id text NOT NULL,
  stream text NOT NULL,
  level text NOT NULL,
  at bigint NOT NULL,
  message text NOT NULL,
  fields text,
  bytes bigint NOT NULL,
  UNIQUE (node, sequence)
);
CREATE INDEX logs_controller ON logs (controller, cursor);
CREATE INDEX logs_request ON logs (request_id, cursor);
CREATE TABLE log_usage (
  id bigint PRIMARY KEY CHECK (id = 1),
  bytes bigint NOT NULL
);
INSERT INTO log_usage VALUES (1, 0);
",
};
