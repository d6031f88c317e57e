//! `where`, `order_by` and paging: the same meaning on both databases.

use super::{column, rows};
use crate::db::testing::Bench;
use serde_json::{Value, json};

const SCHEMA: &str = "
    CREATE TABLE items (
        id INTEGER PRIMARY KEY, name TEXT, price NUMERIC(10, 2), active BOOLEAN, made DATE, note JSON);
    INSERT INTO items VALUES
        (1, 'Apple', 1.50, TRUE, '2026-01-01', '{\"a\": 1}'),
        (2, 'apple', 2.00, FALSE, '2026-01-02', NULL),
        (3, '100%', 10.00, TRUE, NULL, '[1]'),
        (4, 'a_b', NULL, NULL, '2025-12-31', NULL),
        (5, 'a*b[x]', 9.99, FALSE, '2026-02-01', NULL);";

#[tokio::test]
async fn conditions_mean_the_same() {
    let cases = [
        (json!({}), vec![1, 2, 3, 4, 5]),
        (json!({"id": 1}), vec![1]),
        (json!({"price": null}), vec![4]),
        (json!({"price": {"ne": null}}), vec![1, 2, 3, 5]),
        // A comparison with NULL is neither true nor false.
        (json!({"price": {"ne": {"$decimal": "2"}}}), vec![1, 3, 5]),
        (json!({"not": {"price": {"gt": 2}}}), vec![1, 2]),
        (
            json!({"price": {"gte": {"$decimal": "2.00"}, "lt": 10}}),
            vec![2, 5],
        ),
        (json!({"price": {"gt": 9.5}}), vec![3, 5]),
        (json!({"active": true}), vec![1, 3]),
        (json!({"made": {"lt": {"$date": "2026-01-02"}}}), vec![1, 4]),
        (json!({"made": "2026-01-02"}), vec![2]),
        (json!({"id": {"in": [5, 1, 1]}}), vec![1, 5]),
        (json!({"id": {"in": []}}), vec![]),
        (json!({"id": {"not_in": []}}), vec![1, 2, 3, 4, 5]),
        (json!({"price": {"in": [10, null]}}), vec![3, 4]),
        (json!({"price": {"not_in": [10]}}), vec![1, 2, 5]),
        (json!({"price": {"not_in": [10, null]}}), vec![1, 2, 5]),
        (json!({"price": {"in": [null]}}), vec![4]),
        (json!({"note": {"is_null": false}}), vec![1, 3]),
        (json!({"note": null}), vec![2, 4, 5]),
        (json!({"name": {"like": "A%"}}), vec![1]),
        (json!({"name": {"ilike": "A%"}}), vec![1, 2, 4, 5]),
        (json!({"name": {"like": r"%\%"}}), vec![3]),
        (json!({"name": {"like": r"a\_b"}}), vec![4]),
        (json!({"name": {"like": "a_b"}}), vec![4]),
        (json!({"name": {"like": "a*b[x]"}}), vec![5]),
        (json!({"name": {"like": "a_b_x_"}}), vec![5]),
        (json!({"name": "a*b[x]"}), vec![5]),
        (
            json!({"or": [{"id": 1}, {"and": [{"id": 2}, {"active": false}]}]}),
            vec![1, 2],
        ),
        (json!({"or": []}), vec![]),
        (json!({"and": []}), vec![1, 2, 3, 4, 5]),
        (json!({"not": {"id": {"in": [1, 2, 3]}}}), vec![4, 5]),
    ];
    for mut bench in Bench::both(SCHEMA).await {
        for (condition, expected) in &cases {
            let params = json!({"table": "items", "where": condition, "order_by": "id"});
            let found = column(&mut bench, "id", params).await;
            assert_eq!(
                json!(found),
                json!(expected),
                "{}: {condition}",
                bench.name()
            );
            let count = bench
                .call("db.count", &json!({"table": "items", "where": condition}))
                .await;
            assert_eq!(
                count.unwrap(),
                json!(expected.len()),
                "{}: {condition}",
                bench.name()
            );
        }
    }
}

#[tokio::test]
async fn order_and_paging_mean_the_same() {
    let cases = [
        (json!({"order_by": "price"}), json!([1, 2, 5, 3, 4])),
        (json!({"order_by": "-price"}), json!([4, 3, 5, 2, 1])),
        (
            json!({"order_by": ["-active", "-id"]}),
            json!([4, 3, 1, 5, 2]),
        ),
        (json!({"order_by": "id", "limit": 2}), json!([1, 2])),
        (
            json!({"order_by": "id", "limit": 2, "offset": 3}),
            json!([4, 5]),
        ),
        (json!({"order_by": "id", "offset": 4}), json!([5])),
        (json!({"limit": 0}), json!([])),
    ];
    for mut bench in Bench::both(SCHEMA).await {
        for (more, expected) in &cases {
            let mut params = more.clone();
            params["table"] = json!("items");
            let found = column(&mut bench, "id", params).await;
            assert_eq!(json!(found), *expected, "{}: {more}", bench.name());
        }
        // Columns come in the order in which they are asked for, and only those.
        let found = rows(
            &mut bench,
            json!({"table": "items", "columns": ["price", "id"], "where": {"id": 5}}),
        )
        .await;
        assert_eq!(
            found.to_string(),
            r#"[{"price":"9.99","id":5}]"#,
            "{}",
            bench.name()
        );
        let one = bench
            .call(
                "db.query_one",
                &json!({"table": "items", "columns": ["id"], "order_by": "-id"}),
            )
            .await
            .unwrap();
        assert_eq!(one, json!({"columns": {}, "row": {"id": 5}}));
        let none = bench
            .call(
                "db.query_one",
                &json!({"table": "items", "columns": ["id"], "where": {"id": 9}}),
            )
            .await
            .unwrap();
        assert_eq!(none, json!({"columns": {}, "row": Value::Null}));
    }
}

/// What makes no sense is misuse that says what does, and never repeats a value.
#[tokio::test]
async fn nonsense_is_explained() {
    let mut deep = json!({"id": 1});
    for _ in 0..20 {
        deep = json!({"not": deep});
    }
    let wide = json!({"or": (0..1_001).map(|id| json!({"id": id})).collect::<Vec<_>>()});
    let long = json!({"id": {"in": (0..10_001).collect::<Vec<_>>()}});
    let cases = [
        (json!({"where": {"nmae": "SECRET"}}), "did you mean `name`?"),
        (
            json!({"where": {"id": "SECRET"}}),
            "column `id` of `items` is",
        ),
        (
            json!({"where": {"id": {"equals": 1}}}),
            "operators are eq, ne",
        ),
        (json!({"where": {"id": {}}}), "empty object"),
        (json!({"where": {"id": [1]}}), r#"write {"in": [..]}"#),
        (json!({"where": {"id": {"lt": null}}}), "no order"),
        (json!({"where": {"id": {"like": "1%"}}}), "text columns"),
        (json!({"where": {"name": {"like": "SECRET\\"}}}), "lone"),
        (json!({"where": {"note": {"a": 1}}}), "operators are"),
        (json!({"where": {"note": {"eq": 1}}}), "JSON document"),
        (json!({"where": [1]}), "`where` is an object"),
        (json!({"where": {"and": {}}}), "takes a list"),
        (json!({"where": deep}), "deeper than 16"),
        (json!({"where": wide}), "more than 1000 comparisons"),
        (json!({"where": long}), "more than 10000 values"),
        (json!({"columns": []}), "1 to 1000"),
        (json!({"columns": ["id", "id"]}), "twice"),
        (json!({"columns": ["SECRETs"]}), "no column"),
        (json!({"order_by": "-nme"}), "did you mean `name`?"),
        (json!({"order_by": "note"}), "no order"),
        (json!({"limit": -1}), "do not fit"),
        (json!({"group_by": "id"}), "do not fit"),
    ];
    for mut bench in Bench::both(SCHEMA).await {
        for (more, expected) in &cases {
            let mut params = more.clone();
            params["table"] = json!("items");
            let failure = bench.call("db.query", &params).await.unwrap_err();
            let text = failure.to_string();
            assert!(text.contains(expected), "{}: {more}: {text}", bench.name());
            assert!(!text.contains("SECRET\""), "{text}");
            assert_eq!(failure.details["retriable"], json!(false));
        }
        // A thousand comparisons and ten thousand values are not too many.
        let wide = json!({"or": (0..499).map(|id| json!({"id": id})).collect::<Vec<_>>()});
        let long = json!({"id": {"in": (0..10_000).collect::<Vec<_>>()}});
        for condition in [wide, long] {
            let params = json!({"table": "items", "where": condition});
            let count = bench.call("db.count", &params).await;
            assert_eq!(count.unwrap(), json!(5), "{}", bench.name());
        }
    }
}
