//! Records as lines of a table, for spreadsheets.
//!
//! RFC 4180 says how a field is quoted. Beyond that, a text that begins like a formula gets an apostrophe in front, since what
//! a controller called a table must not be computed on the machine of whoever opens the export
//! (<https://owasp.org/www-community/attacks/CSV_Injection>).

use std::fmt::Write as _;

use serde_json::Value;

use super::query::StoredRecord;

/// The columns, in order: their titles, and where in a record they are.
const COLUMNS: [(&str, &str); 17] = [
    ("time", "/time"),
    ("kind", "/kind"),
    ("request_id", "/request_id"),
    ("controller", "/controller"),
    ("version", "/version"),
    ("caller", "/caller"),
    ("capability", "/capability"),
    ("method", "/method"),
    ("decision", "/decision"),
    ("rule_layer", "/rule/layer"),
    ("rule_name", "/rule/name"),
    ("rule_line", "/rule/line"),
    ("code", "/code"),
    ("policy_hash", "/policy_hash"),
    ("duration_us", "/duration_us"),
    ("fields", "/fields"),
    ("hash", ""),
];

/// The first line of the table, without a line break.
pub const AUDIT_CSV_HEADER: &str = "seq,time,kind,request_id,controller,version,caller,capability,method,decision,rule_layer,rule_name,rule_line,code,policy_hash,duration_us,fields,hash";

/// One record as a line of the table, without a line break at its end. What is in `fields` is one column of JSON.
#[must_use]
pub fn audit_csv_row(record: &StoredRecord) -> String {
    let mut row = record.seq.to_string();
    for (title, pointer) in COLUMNS {
        row.push(',');
        let mut parts = pointer.split('/').skip(1);
        let value = parts.next().and_then(|member| record.members.get(member));
        let value = parts.fold(value, |value, member| value?.get(member));
        match value {
            _ if title == "hash" => row.push_str(&record.hash),
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => write_field(&mut row, text),
            Some(Value::Number(number)) => {
                let _ = write!(row, "{number}");
            }
            Some(other) => write_field(&mut row, &other.to_string()),
        }
    }
    row
}

fn write_field(row: &mut String, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let apostrophe = if is_formula { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        let _ = write!(row, "\"{apostrophe}{}\"", text.replace('"', "\"\""));
    } else {
        row.push_str(apostrophe);
        row.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Header and columns belong together.
    #[test]
    fn the_header_names_the_columns() {
        let titles: Vec<_> = COLUMNS.iter().map(|(title, _)| *title).collect();
        assert_eq!(AUDIT_CSV_HEADER, format!("seq,{}", titles.join(",")));
    }

    /// Quoting, formulas, and what is not there.
    #[test]
    fn rows() {
        let members = json!({
            "time": "t", "kind": "call", "controller": "=1+1", "rule": {"layer": "policy", "line": "a, \"b\"\nc"},
            "duration_us": 7, "fields": {"table": "x"},
        });
        let Value::Object(members) = members else {
            unreachable!("it is an object")
        };
        let record = StoredRecord {
            seq: 3,
            members,
            hash: "ab".to_owned(),
        };
        assert_eq!(
            audit_csv_row(&record),
            "3,t,call,,'=1+1,,,,,,policy,,\"a, \"\"b\"\"\nc\",,,7,\"{\"\"table\"\":\"\"x\"\"}\",ab"
        );
    }
}
