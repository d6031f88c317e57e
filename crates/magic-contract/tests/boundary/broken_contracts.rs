//! Contracts that are broken, each in its own way, as `magic validate` shows them.
//!
//! The rule for every snapshot: the mistake can be mended from what is printed, without opening the
//! documentation.

use magic_contract::{Color, Contract};

const SCHEMAS: &str = "input: { type: object }\noutput: { type: object }\n";

/// What people see for this text, errors or warnings.
fn rendered(text: &str) -> String {
    match Contract::parse(text.as_bytes(), "invoice_sync.contract.yaml") {
        Ok(contract) => contract.warnings.render(Color::Never),
        Err(problems) => problems.render(Color::Never),
    }
}

/// A valid head, then the given lines.
fn with(lines: &str) -> String {
    rendered(&format!(
        "name: InvoiceSync\nversion: 1.2.0\n{SCHEMAS}{lines}"
    ))
}

macro_rules! snapshots {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)+) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), $text);
            }
        )+
    };
}

snapshots! {
    /// Nothing is there.
    empty_file: rendered("");
    /// A list instead of an object.
    not_an_object: rendered("- name: InvoiceSync\n- version: 1.2.0\n");
    /// Two sections are missing: E1002 for each.
    missing_sections: rendered("name: InvoiceSync\nversion: 1.2.0\noutput:\n");
    /// YAML reads 1.10 as a number.
    version_as_a_number: rendered(&format!("name: InvoiceSync\nversion: 1.10\n{SCHEMAS}"));
    /// Not three parts.
    version_with_a_letter: rendered(&format!("name: InvoiceSync\nversion: v1.2\n{SCHEMAS}"));
    /// The name of a file instead of a class.
    name_in_snake_case: rendered(&format!("name: invoice_sync\nversion: 1.2.0\n{SCHEMAS}"));
    /// A key with a typing error.
    unknown_section: with("resorces: { cpu: 1 }\n");
    /// A key twice.
    key_twice: with("isolation: request\nisolation: pristine\n");
    /// Every resource is wrong, each in its own way.
    resources_out_of_range: with("resources: { cpu: 4, memory: 64MB, timeout: 30, pids: 0, disk: 1Gi }\n");
    /// Capabilities: typing error, options, twice, nothing after the colon, two in one entry.
    capabilities_misspelled: with("capabilities:\n  - db:reed\n  - db:read: { table: [customers] }\n  - db:rawsql\n  - db:rawsql\n  - queue:publish:\n  - { cache:read: {}, cache:write: {} }\n  - 7\n");
    /// Lists that allow nothing, or names that are none.
    capability_lists: with("capabilities:\n  - db:read: { tables: [] }\n  - db:write: { tables: [\"orders; drop\"], max_rows: -1 }\n  - secrets:read: { keys: STRIPE_KEY }\n  - cache:write: { keys: [\"*\"] }\n  - fs:temp: { size: 1Ti }\n");
    /// Hosts: a URL, wildcards, an address in disguise, methods in lower case.
    egress_hosts: with("capabilities:\n  - http:egress: { allow: [\"https://api.stripe.com/v1\", \"*\", \"*.com\", \"example.*\", \"\", \"127.1\", \"Api.Example.org\", \"api.example.org.\"], methods: [get] }\n");
    /// A schema that is none.
    schema_type_misspelled: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  type: object\n  properties:\n    id: { type: strng }\n    tags: { type: array, minItems: -1 }\noutput: text\n");
    /// Schemas that are refused: remote reference, look-ahead, format, dialect.
    schema_unsupported: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  properties:\n    a: { $ref: \"https://example.org/schema.json\" }\n    b: { type: string, format: uid }\n    c: { $ref: \"#/definitions/missing\" }\n    d: { multipleOf: 1e-300 }\noutput: { $schema: \"http://json-schema.org/draft-04/schema#\" }\n");
    /// A pattern that needs backtracking.
    schema_pattern: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  properties:\n    code:\n      type: string\n      pattern: \"^(?=.*[0-9]).+$\"\noutput: {}\n");
    /// A schema that never ends.
    schema_endless: rendered("name: InvoiceSync\nversion: 1.2.0\ninput: { allOf: [{ $ref: \"#\" }] }\noutput: {}\n");
    /// Words that are not accepted.
    closed_words: with("isolation: pristin\neffects: on-success\nconcurrency: 0\n");
    /// Examples that break the schemas.
    examples_break_schemas: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  type: object\n  required: [id]\n  properties: { id: { type: string, format: uuid } }\noutput: { type: object }\nexamples:\n  - input: { id: 7 }\n    output: []\n  - { output: {} }\n");
    /// A trigger without the capability, and one of an unknown kind.
    triggers_without_subscription: with("triggers:\n  - queue: invoices\n  - cron: \"* * * * *\"\n");
    /// Indentation gone wrong.
    broken_indentation: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  type: object\n   properties: {}\n");
    /// A bomb of aliases.
    alias_bomb: rendered("a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n");
    /// JSON with a comma too many gets the same care.
    broken_json: rendered("{\"name\": \"InvoiceSync\", \"version\": \"1.2.0\", \"input\": {\"type\": \"object\",, }, \"output\": {}}");
    /// Observability with names that metrics cannot have.
    observability_names: with("observability: { log_fields: [customer-id], metrics: [Requests, 7], traces: [] }\n");
    /// Valid, but with keywords that have no effect.
    warnings_of_schemas: rendered("name: InvoiceSync\nversion: 1.2.0\ninput:\n  type: object\n  requierd: [id]\n  properties: { id: { $ref: \"#/definitions/id\", default: x } }\n  definitions: { id: { type: string } }\n  unevaluatedProperties: false\noutput: {}\ncapabilities:\n  - secrets:read: { keys: [A], only_for: [api.example.org] }\n");
    /// Terminal escapes and a very long line stay harmless.
    hostile_line: rendered(&format!("name: InvoiceSync\nversion: 1.2.0\n{SCHEMAS}\"{}\\e[31m\u{202e}\": {}\n", "x".repeat(300), "y".repeat(3000)));
}

/// Not UTF-8 is text that no literal can hold.
#[test]
fn not_utf8() {
    let problems =
        Contract::parse(b"name: Invoice\xffSync\n", "invoice_sync.contract.yaml").unwrap_err();
    insta::assert_snapshot!("not_utf8", problems.render(Color::Never));
}

/// What programs get is the same list.
#[test]
fn diagnostics_for_programs() {
    let text = format!("name: InvoiceSync\nversion: 1.10\n{SCHEMAS}");
    let problems = Contract::parse(text.as_bytes(), "invoice_sync.contract.yaml").unwrap_err();
    insta::assert_json_snapshot!("diagnostics_for_programs", problems);
    let failure = problems.to_failure();
    assert_eq!(failure.code.as_str(), "E1001");
    assert_eq!(failure.details["problems"].as_array().unwrap().len(), 1);
}
