//! The controller that the documentation shows, with its payment provider answered by a server of the test's own.
//!
//! Nothing in the runtime is told that this is a test. The test runs in a network namespace of its own, in which the provider's
//! name resolves to a public address that only that namespace has: the address passes every check for the reason for which the
//! real one would. Only the certificate authority is an operator's setting, as a company's own would be.

use crate::support::command::{export, magic, migrate};
use crate::support::namespace;
use crate::support::postgres::Postgres;
use crate::support::server::{Controllers, Server};
use crate::support::tls::TlsServer;
use serde_json::{Value, json};

/// As the documentation has it, bare capabilities and all.
const CONTRACT: &str = r#"
capabilities:
  - db:read
  - http:egress:
      allow:
        - api.stripe.com
  - secrets:read:
      keys: [STRIPE_KEY]
output:
  type: object
  required: [sync_id, status]
  properties:
    sync_id: { type: string }
    status: { type: string }
resources: { cpu: 0.5, memory: 256Mi, timeout: 30s }
observability:
  log_fields: [customer_id]
  metrics: [controller_duration_seconds]
"#;

const CONTROLLER: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class InvoiceSyncController(Controller):
    async def execute(self, input: dict) -> dict:
        customer_id = input["customer_id"]
        customer = await self.db.query_one("customers", where={"id": customer_id})
        assert customer is not None and customer["name"] == "Ada", customer
        stripe_key = await self.secrets.get("STRIPE_KEY")
        response = await self.http.post(
            "https://api.stripe.com/v1/invoices",
            json=input["invoice_data"],
            headers={"Authorization": f"Bearer {stripe_key}"},
        )
        return {"sync_id": response["id"], "status": "completed"}
"#;

const CUSTOMERS: &str = "CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO customers VALUES ('c1', 'Ada');";

/// A public address that is nobody's business here: it is the test's alone, in its own namespace.
const ADDRESS: &str = "34.117.59.81";

/// Runs the named test where the provider's name means the test's own address.
fn inside(test: &str) -> bool {
    let hosts = format!("127.0.0.1 localhost\n{ADDRESS} api.stripe.com\n");
    namespace::inside(test, &hosts, &[&format!("{ADDRESS}/32")])
}

fn run(contract: &str, environment: &[(&str, &str)], arguments: &[&str]) -> (Server, TlsServer) {
    let provider = TlsServer::start(
        format!("{ADDRESS}:443").parse().expect("an address"),
        "api.stripe.com",
        r#"{"id": "in_1", "object": "invoice"}"#,
    );
    let data = tempfile::tempdir().expect("a temporary folder");
    let authority = data.path().join("authority.pem");
    std::fs::write(&authority, &provider.authority).expect("our own file");
    migrate(data.path(), CUSTOMERS, environment);
    let controllers = Controllers::new().with("InvoiceSync", contract, CONTROLLER);
    let mut all = vec![
        ("MAGIC_EGRESS_CA", authority.to_str().expect("UTF-8")),
        ("MAGIC_SECRET_STRIPE_KEY", "sk_live_example"),
    ];
    all.extend_from_slice(environment);
    (
        Server::start_on(data, controllers, &all, arguments),
        provider,
    )
}

fn check(server: Server, provider: &TlsServer) {
    let input = json!({"customer_id": "c1", "invoice_data": {"customer": "cus_1", "amount": 4200}});
    let answer = server.execute("InvoiceSync", &input);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.body["result"],
        json!({"sync_id": "in_1", "status": "completed"})
    );
    let seen = provider.seen.try_recv().expect("the provider was asked");
    let head = seen.head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/invoices http/1.1\r\n"), "{head}");
    assert!(
        head.contains("authorization: bearer sk_live_example\r\n"),
        "{head}"
    );
    assert!(head.contains("host: api.stripe.com\r\n"), "{head}");
    assert_eq!(
        serde_json::from_str::<Value>(&seen.body).expect("JSON"),
        input["invoice_data"]
    );

    let records = export(server.data.path());
    let request = answer.body["request_id"].as_str().expect("an id");
    let calls: Vec<&Value> = records
        .iter()
        .filter(|record| record["request_id"] == request && record["kind"] == "call")
        .collect();
    let fact = |capability: &str, name: &str| {
        let record = calls
            .iter()
            .find(|record| record["capability"] == capability)
            .unwrap_or_else(|| panic!("no record of {capability}: {records:#?}"));
        assert_eq!(record["decision"], "allow");
        record["fields"][name].clone()
    };
    assert_eq!(calls.len(), 3, "{calls:#?}");
    assert_eq!(fact("db:read", "table"), "customers");
    assert!(fact("db:read", "query_hash").is_string());
    assert_eq!(fact("http:egress", "host"), "api.stripe.com");
    assert_eq!(fact("http:egress", "method"), "POST");
    assert_eq!(fact("http:egress", "status"), 200);
    assert_eq!(fact("secrets:read", "key_name"), "STRIPE_KEY");
    let text = serde_json::to_string(&records).expect("JSON");
    assert!(
        !text.contains("sk_live_example"),
        "the secret is in the audit log"
    );
    let (data, _controllers) = server.kill();
    magic(data.path(), &["audit", "verify"], &[]);
}

/// As it stands in the documentation, with nothing configured but a secret.
#[test]
fn runs_as_documented_on_the_embedded_database() {
    if inside("invoice_sync::runs_as_documented_on_the_embedded_database") {
        let (server, provider) = run(CONTRACT, &[], &[]);
        check(server, &provider);
    }
}

/// The same with PostgreSQL, by one variable.
#[test]
fn runs_on_postgres_by_setting_only_its_url() {
    if inside("invoice_sync::runs_on_postgres_by_setting_only_its_url") {
        let postgres = Postgres::start();
        let url = postgres.database("app");
        let (server, provider) = run(CONTRACT, &[("DATABASE_URL", &url)], &[]);
        check(server, &provider);
    }
}

/// The production policy wants the tables named, and then runs it.
#[test]
fn runs_under_the_production_policy_with_its_tables_named() {
    if inside("invoice_sync::runs_under_the_production_policy_with_its_tables_named") {
        let policy = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../policies/production.yaml"
        );
        let named = CONTRACT.replace("- db:read\n", "- db:read: { tables: [customers] }\n");
        let (server, provider) = run(&named, &[("MAGIC_POLICY", policy)], &[]);
        check(server, &provider);
    }
}
