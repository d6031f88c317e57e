//! Properties of what is made of hostile JSON.

use super::*;
use crate::db::sql::TypeName;
use crate::db::statement::{self, Bounds, Selection};
use crate::db::{condition::Condition, literal::Members};
use proptest::prelude::*;
use serde_json::{Value, json};

fn table(dialect: Dialect) -> Table {
    let declared = [
        ("i", "int8", Scalar::Integer(64)),
        ("f", "float8", Scalar::Float),
        ("d", "numeric", Scalar::Decimal),
        ("t", "text", Scalar::Text),
        ("b", "bool", Scalar::Boolean),
        ("u", "uuid", Scalar::Uuid),
        ("y", "bytea", Scalar::Bytes),
        ("tz", "timestamptz", Scalar::Datetime),
        ("j", "jsonb", Scalar::Json),
    ];
    let mut columns: Vec<Column> = declared
        .into_iter()
        .map(|(name, declared, scalar)| Column {
            name: name.to_owned(),
            kind: Kind::plain(scalar),
            type_name: TypeName::printed_by_the_server(declared.to_owned()),
            declared: declared.to_owned(),
        })
        .collect();
    if dialect == Dialect::Postgres {
        columns.push(Column {
            name: "a".to_owned(),
            kind: Kind {
                scalar: Scalar::Text,
                array: true,
            },
            type_name: TypeName::printed_by_the_server("text[]".to_owned()),
            declared: "text[]".to_owned(),
        });
    }
    Table::new("v", "s", "v", columns, false)
}

/// Text that would be noticed in a statement.
const MARK: &str = "'; DROP";

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,4}".prop_map(|text| format!("{MARK}{text}")),
        any::<String>(),
        Just("2026-01-01T10:00:00Z".to_owned()),
        Just("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".to_owned()),
        Just("1.5".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
        (
            prop_oneof![
                Just("$decimal"),
                Just("$datetime"),
                Just("$uuid"),
                Just("$bytes"),
                Just("$float"),
                Just("$json"),
                Just("$x")
            ],
            text
        )
            .prop_map(|(tag, text)| json!({ tag: text })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            (name(), inner).prop_map(|(name, value)| json!({ name: value })),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "i", "f", "d", "t", "b", "u", "y", "tz", "j", "a", "and", "or", "not", "eq", "ne",
            "lt", "in", "not_in", "like", "ilike", "is_null", "x"
        ])
        .prop_map(ToOwned::to_owned),
        any::<String>(),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), value()), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Every placeholder has its value, and the text has nothing that is neither ours nor a name.
fn whole(statement: &crate::db::sql::Statement) -> Result<(), TestCaseError> {
    let text = statement.text();
    prop_assert!(!text.contains("DROP"), "{text}");
    prop_assert!(!text.contains(';'), "{text}");
    prop_assert_eq!(text.matches('\'').count() % 2, 0);
    let bound = statement.values().len();
    if text.contains('?') {
        prop_assert_eq!(text.matches('?').count(), bound, "{}", text);
        return Ok(());
    }
    for number in 1..=bound {
        prop_assert!(
            text.contains(&format!("${number}::text")),
            "{number} of {text}"
        );
    }
    prop_assert!(!text.contains(&format!("${}::text", bound + 1)), "{text}");
    Ok(())
}

proptest! {
    #[test]
    fn any_where_is_bound_or_refused(condition in condition(), postgres in any::<bool>()) {
        let dialect = if postgres { Dialect::Postgres } else { Dialect::Sqlite };
        let table = table(dialect);
        let text = condition.to_string();
        let raw: &RawValue = serde_json::from_str(&text).unwrap();
        if let Ok(condition) = Condition::read(dialect, &table, Some(raw)) {
            let selection = Selection {
                columns: table.columns.iter().collect(),
                condition,
                order: Vec::new(),
                limit: None,
                offset: Some(1),
            };
            let bounds = Bounds { rows: 10, bytes: 100 };
            whole(&statement::select(dialect, &table, &selection, bounds))?;
            whole(&statement::count(dialect, &table, &selection.condition))?;
            whole(&statement::delete(dialect, &table, &selection.condition, None, bounds))?;
        }
    }

    /// The text depends on shapes and names: other values of the same shape give the same text.
    #[test]
    fn any_row_is_bound_or_refused(
        values in prop::collection::vec((prop::sample::select(vec!["i", "d", "t", "j", "u"]), value()), 0..4),
        postgres in any::<bool>(),
    ) {
        let dialect = if postgres { Dialect::Postgres } else { Dialect::Sqlite };
        let table = table(dialect);
        let object: serde_json::Map<String, Value> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let text = Value::Object(object).to_string();
        let Members(members) = serde_json::from_str(&text).unwrap();
        let mut row = Vec::new();
        for (name, raw) in &members {
            let place = table.place(name).unwrap();
            match for_column(dialect, &table, &table.columns[place], raw) {
                Ok(value) => row.push((place, value)),
                Err(failure) => {
                    prop_assert!(!failure.to_string().contains(MARK));
                    return Ok(());
                }
            }
        }
        row.sort_by_key(|(place, _)| *place);
        let nulls: Vec<_> = row.iter().map(|(place, _)| (*place, Bound::Null)).collect();
        let bounds = Bounds { rows: 10, bytes: 100 };
        let texts = |row| -> Vec<String> {
            statement::insert(dialect, &table, vec![row], None, bounds)
                .iter()
                .map(|statement| statement.text().to_owned())
                .collect()
        };
        for statement in statement::insert(dialect, &table, vec![row.clone()], None, bounds) {
            whole(&statement)?;
        }
        prop_assert_eq!(texts(row), texts(nulls));
    }

    /// Whatever the text is, reading it as one of the forms does not panic.
    #[test]
    fn any_text_is_read(text in ".{0,40}") {
        let _ = instant::date(&text);
        let _ = instant::time(&text);
        let _ = instant::datetime(&text);
        let _ = literal::decimal(&text);
        let _ = literal::uuid(&text);
    }
}
