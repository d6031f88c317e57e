//! Values keep their meaning on the way in and out.

use super::rows;
use crate::db::testing::Bench;
use serde_json::{Value, json};

/// What both databases keep.
#[tokio::test]
async fn values_come_back_as_they_went() {
    let schema = "CREATE TABLE v (
        id INTEGER PRIMARY KEY, i BIGINT, f double precision, d NUMERIC, t TEXT, b BOOLEAN, u UUID,
        y BYTEA, da DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, j JSON);";
    let kinds = json!({"f": "float", "d": "decimal", "u": "uuid", "y": "bytes", "da": "date",
        "ti": "time", "ts": "datetime", "tz": "datetime"});
    // Column, what goes in, what comes out.
    let cases = [
        (
            "i",
            json!(9_223_372_036_854_775_807_i64),
            json!(9_223_372_036_854_775_807_i64),
        ),
        (
            "i",
            json!(-9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_993_i64),
        ),
        ("i", json!({"$decimal": "42"}), json!(42)),
        ("f", json!(0.1), json!(0.1)),
        ("f", json!(1e300), json!(1e300)),
        ("f", json!({"$float": "-Infinity"}), json!("-Infinity")),
        ("d", json!({"$decimal": "0.1"}), json!("0.1")),
        (
            "d",
            json!({"$decimal": "-123456789.012345"}),
            json!("-123456789.012345"),
        ),
        (
            "d",
            json!({"$decimal": "9223372036854775807"}),
            json!("9223372036854775807"),
        ),
        ("d", json!(7), json!("7")),
        ("d", json!(0.1), json!("0.1")),
        (
            "t",
            json!("a\u{1f600} \\ \" '"),
            json!("a\u{1f600} \\ \" '"),
        ),
        ("t", json!("007"), json!("007")),
        ("t", json!(""), json!("")),
        ("t", json!("null"), json!("null")),
        ("b", json!(true), json!(true)),
        ("b", json!(false), json!(false)),
        (
            "u",
            json!({"$uuid": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}),
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        (
            "u",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("y", json!({"$bytes": "AAH/"}), json!("AAH/")),
        ("y", json!({"$bytes": ""}), json!("")),
        ("da", json!({"$date": "2024-02-29"}), json!("2024-02-29")),
        (
            "ti",
            json!({"$time": "10:00:00.000001"}),
            json!("10:00:00.000001"),
        ),
        (
            "ts",
            json!({"$datetime": "2026-01-01T10:00:00.000001"}),
            json!("2026-01-01T10:00:00.000001"),
        ),
        (
            "tz",
            json!({"$datetime": "2026-01-01T10:00:00.000001+05:30"}),
            json!("2026-01-01T04:30:00.000001+00:00"),
        ),
        (
            "tz",
            json!("2026-01-01T10:00:00.500001Z"),
            json!("2026-01-01T10:00:00.500001+00:00"),
        ),
        (
            "j",
            json!({"a": [1, null, "x", {"b": 2.5}]}),
            json!({"a": [1, null, "x", {"b": 2.5}]}),
        ),
        (
            "j",
            json!({"$json": {"$decimal": "1"}}),
            json!({"$decimal": "1"}),
        ),
        ("j", json!("text"), json!("text")),
        ("j", json!(5), json!(5)),
        ("j", json!({"$json": null}), json!(null)),
        ("j", json!(null), json!(null)),
        ("t", json!(null), json!(null)),
    ];
    for mut bench in Bench::both(schema).await {
        for (id, (column, given, expected)) in cases.iter().enumerate() {
            let insert = json!({"table": "v", "rows": [{"id": id, (*column): given}]});
            if let Err(failure) = bench.call("db.insert", &insert).await {
                panic!("{}: {column} {given}: {failure:?}", bench.name());
            }
            let answer = bench
                .call("db.query", &json!({"table": "v", "where": {"id": id}}))
                .await
                .unwrap();
            assert_eq!(answer["columns"], kinds, "{}", bench.name());
            assert_eq!(
                answer["rows"][0][column],
                *expected,
                "{}: {column} {given}",
                bench.name()
            );
            // What comes out is found again by it.
            if *column != "j" && !given.is_null() {
                let again = json!({"table": "v", "where": {"id": id, (*column): given}});
                let count = bench.call("db.count", &again).await.unwrap();
                assert_eq!(count, json!(1), "{}: {column} {given}", bench.name());
            }
        }
        // Times compare as times.
        let after = json!({"table": "v", "columns": ["id"],
            "where": {"tz": {"gt": {"$datetime": "2026-01-01T06:00:00+00:00"}}}});
        assert_eq!(
            rows(&mut bench, after).await.as_array().map(Vec::len),
            Some(1)
        );
    }
}

/// What does not fit its column is misuse that names the column and its type, and not the value.
#[tokio::test]
async fn what_does_not_fit_is_named() {
    let schema = "CREATE TABLE v (
        id INTEGER PRIMARY KEY, s SMALLINT, i BIGINT, f double precision, d NUMERIC, t TEXT,
        b BOOLEAN, u UUID, y BYTEA, da DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, j JSON);";
    let cases = [
        ("i", json!("77"), "it was given text"),
        ("i", json!(7.7), "a float"),
        ("i", json!(true), "True or False"),
        ("i", json!({"$decimal": "7.7"}), "a Decimal"),
        (
            "i",
            json!({"$decimal": "77777777777777777777"}),
            "out of its range",
        ),
        ("i", json!([77]), "a list"),
        ("f", json!("7.7"), "text"),
        ("d", json!("7.7"), "text"),
        ("t", json!(77), "a whole number"),
        ("t", json!("77\0"), "NUL"),
        (
            "t",
            json!({"$datetime": "2026-01-01T10:00:00"}),
            "a datetime",
        ),
        ("b", json!(1), "a whole number"),
        ("u", json!("77"), "no UUID"),
        ("y", json!("77"), "text"),
        ("da", json!("77"), "no date"),
        (
            "da",
            json!({"$datetime": "2026-01-01T10:00:00"}),
            "a datetime",
        ),
        ("ti", json!("77"), "no time"),
        (
            "ts",
            json!({"$datetime": "2026-01-01T10:00:00Z"}),
            "with an offset",
        ),
        (
            "tz",
            json!({"$datetime": "2026-01-01T10:00:00"}),
            "timezone.utc",
        ),
        ("tz", json!("2026-01-01T10:00:00"), "with its offset"),
        ("j", json!({"a": "7\0"}), "NUL"),
        ("j", json!({"$date": "2026-01-01"}), "a date"),
        ("j", json!({"$wrong": 77}), "`$` key"),
        ("d", json!({"$decimal": "7,7"}), "Decimal"),
    ];
    for mut bench in Bench::both(schema).await {
        for (column, given, expected) in &cases {
            let insert = json!({"table": "v", "rows": [{(*column): given}]});
            let failure = bench.call("db.insert", &insert).await.unwrap_err();
            let text = failure.to_string();
            assert!(
                text.contains(expected),
                "{}: {column} {given}: {text}",
                bench.name()
            );
            assert!(
                text.contains(&format!("column `{column}` of `v` is ")),
                "{text}"
            );
            assert!(!text.contains("77"), "{text}");
            assert_eq!(failure.details["retriable"], false);
        }
    }
}

/// Digits that SQLite would lose, it is not given.
#[tokio::test]
async fn sqlite_refuses_what_it_would_round() {
    let mut bench = Bench::sqlite("CREATE TABLE v (d DECIMAL(30, 10), x STRING)").await;
    for (given, kept) in [
        ("1234567890.12345", true),
        ("1234567890.123456", false),
        ("0.000000000000001", true),
        ("1000000000000000000000000", true),
        ("1000000000000000000000001", false),
        ("NaN", false),
        ("Infinity", false),
        ("1E-300", false),
    ] {
        let insert = json!({"table": "v", "rows": [{"d": {"$decimal": given}}]});
        let result = bench.call("db.insert", &insert).await;
        assert_eq!(result.is_ok(), kept, "{given}: {result:?}");
    }
    for (given, kept) in [
        (json!("7"), false),
        (json!("seven"), true),
        (json!(7), true),
    ] {
        let insert = json!({"table": "v", "rows": [{"x": given}]});
        let result = bench.call("db.insert", &insert).await;
        assert_eq!(result.is_ok(), kept, "{given}: {result:?}");
    }
}

/// What SQLite's own functions and other programs store is read by its declared type, or refused.
#[tokio::test]
async fn sqlite_reads_by_declared_type() {
    let mut bench = Bench::sqlite(
        "CREATE TABLE v (id INTEGER PRIMARY KEY, tz DATETIME, d NUMERIC, u UUID, j JSON, b BOOLEAN, x);
         INSERT INTO v VALUES (1, '2026-01-01 10:00:00', '2.50', x'a0eebc999c0b4ef8bb6d6bb9bd380a11',
                               '5', 7, x'00'),
                              (2, NULL, NULL, NULL, NULL, NULL, NULL);
         CREATE TABLE w (tz DATETIME); INSERT INTO w VALUES (1767261600);
         CREATE TABLE m (x); INSERT INTO m VALUES (x'00'), ('text');
         CREATE VIEW e AS SELECT id + 1 AS next, upper('a') AS a FROM v WHERE id = 1;",
    )
    .await;
    let answer = bench
        .call("db.query", &json!({"table": "v", "limit": 1}))
        .await
        .unwrap();
    assert_eq!(
        answer["rows"][0],
        json!({"id": 1, "tz": "2026-01-01T10:00:00.000000+00:00", "d": "2.5",
            "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": 5, "b": 7, "x": "AA=="})
    );
    assert_eq!(answer["columns"]["x"], "bytes");
    let failure = bench
        .call("db.query", &json!({"table": "w"}))
        .await
        .unwrap_err();
    assert!(
        failure
            .message
            .contains("`tz` is DATETIME and holds a number"),
        "{failure}"
    );
    assert!(
        bench
            .call("db.query", &json!({"table": "m"}))
            .await
            .is_err()
    );
    let view = rows(&mut bench, json!({"table": "e"})).await;
    assert_eq!(view, json!([{"next": 2, "a": "A"}]));
}

/// The types that only PostgreSQL has.
#[tokio::test]
async fn postgres_types_round_trip() {
    let schema = "
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE DOMAIN cents AS int8 CHECK (VALUE >= 0);
        CREATE DOMAIN price AS numeric(20, 4);
        CREATE DOMAIN prices AS numeric[];
        CREATE TYPE pair AS (a int, b text);
        CREATE TABLE v (
            id int PRIMARY KEY, n numeric, dp price, dc cents, e mood, net inet, r int4range,
            iv interval, ts timestamp, tz timestamptz, da date, jb jsonb, c char(3), vc varchar(3),
            bits bit(4), m mood[], ints int[], ns numeric[], us uuid[], ts_s timestamptz[],
            bs bytea[], txt text[], fs float8[], js jsonb[], ps prices, comp pair, f4 real, mon money,
            tt timetz, \"odd \"\"name\" int);";
    let nines = format!("{}.{}", "9".repeat(600), "7".repeat(400));
    let cases = [
        (
            "n",
            json!({"$decimal": nines}),
            json!(nines),
            Some("decimal"),
        ),
        (
            "n",
            json!({"$decimal": "1.10"}),
            json!("1.10"),
            Some("decimal"),
        ),
        (
            "n",
            json!({"$decimal": "NaN"}),
            json!("NaN"),
            Some("decimal"),
        ),
        ("n", json!({"$float": "NaN"}), json!("NaN"), Some("decimal")),
        (
            "n",
            json!({"$decimal": "1E+3"}),
            json!("1000"),
            Some("decimal"),
        ),
        (
            "dp",
            json!({"$decimal": "1.1"}),
            json!("1.1000"),
            Some("decimal"),
        ),
        ("dc", json!(5), json!(5), None),
        ("e", json!("ok"), json!("ok"), None),
        ("net", json!("10.0.0.1/8"), json!("10.0.0.1/8"), None),
        ("r", json!("[1,5)"), json!("[1,5)"), None),
        ("iv", json!("1 day 02:00:00"), json!("1 day 02:00:00"), None),
        ("ts", json!("infinity"), json!("infinity"), Some("datetime")),
        (
            "tz",
            json!("-infinity"),
            json!("-infinity"),
            Some("datetime"),
        ),
        ("da", json!("infinity"), json!("infinity"), Some("date")),
        (
            "tz",
            json!({"$datetime": "2026-01-01T10:00:00+02:00"}),
            json!("2026-01-01T08:00:00+00:00"),
            Some("datetime"),
        ),
        ("jb", json!({"a": 1}), json!({"a": 1}), None),
        ("c", json!("ab"), json!("ab "), None),
        ("vc", json!("abc"), json!("abc"), None),
        ("bits", json!("0101"), json!("0101"), None),
        ("m", json!(["ok", null]), json!(["ok", null]), None),
        (
            "ints",
            json!([[1, 2], [3, 4]]),
            json!([[1, 2], [3, 4]]),
            None,
        ),
        ("ints", json!([]), json!([]), None),
        ("ints", json!(null), json!(null), None),
        (
            "ns",
            json!([{"$decimal": "1.10"}, {"$decimal": "NaN"}, null]),
            json!(["1.10", "NaN", null]),
            Some("decimal[]"),
        ),
        (
            "us",
            json!([{"$uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}]),
            json!(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
            Some("uuid[]"),
        ),
        (
            "ts_s",
            json!([{"$datetime": "2026-01-01T10:00:00Z"}]),
            json!(["2026-01-01T10:00:00+00:00"]),
            Some("datetime[]"),
        ),
        (
            "bs",
            json!([{"$bytes": "AAE="}, null]),
            json!(["AAE=", null]),
            Some("bytes[]"),
        ),
        ("bs", json!([]), json!([]), Some("bytes[]")),
        ("bs", json!(null), json!(null), Some("bytes[]")),
        (
            "txt",
            json!(["a,b", "{x}", "\"q\"", "\\", "NULL", "", null]),
            json!(["a,b", "{x}", "\"q\"", "\\", "NULL", "", null]),
            None,
        ),
        (
            "fs",
            json!([1.5, {"$float": "NaN"}, {"$float": "Infinity"}]),
            json!([1.5, "NaN", "Infinity"]),
            Some("float[]"),
        ),
        (
            "js",
            json!([{"a": 1}, [1], null]),
            json!([{"a": 1}, [1], null]),
            None,
        ),
        (
            "ps",
            json!([{"$decimal": "1.0"}]),
            json!(["1.0"]),
            Some("decimal[]"),
        ),
        ("comp", json!("(1,x)"), json!({"a": 1, "b": "x"}), None),
        ("f4", json!(0.1), json!(0.1), Some("float")),
        ("mon", json!("$1.00"), json!("$1.00"), None),
        ("tt", json!("10:00:00+02"), json!("10:00:00+02"), None),
        ("odd \"name", json!(1), json!(1), None),
    ];
    let mut bench = Bench::postgres(schema).await;
    for (id, (column, given, expected, kind)) in cases.iter().enumerate() {
        let insert = json!({"table": "v", "rows": [{"id": id, (*column): given}]});
        if let Err(failure) = bench.call("db.insert", &insert).await {
            panic!("{column} {given}: {failure:?}");
        }
        let query = json!({"table": "v", "columns": [column], "where": {"id": id}});
        let answer = bench.call("db.query", &query).await.unwrap();
        assert_eq!(answer["rows"][0][column], *expected, "{column} {given}");
        assert_eq!(
            answer["columns"].get(column).and_then(Value::as_str),
            *kind,
            "{column}"
        );
        let sortless = ["jb", "js", "comp"].contains(column) || given.is_null();
        if !sortless {
            let again = json!({"table": "v", "where": {"id": id, (*column): {"eq": given}}});
            let count = bench.call("db.count", &again).await;
            assert_eq!(count.ok(), Some(json!(1)), "{column} {given}");
        }
    }
    for (column, given, expected) in [
        ("e", json!("SECRET"), "form"),
        ("vc", json!("SECRET"), "too long"),
        ("dc", json!(-5), "check"),
        ("dp", json!({"$decimal": "1e17"}), "out of range"),
        ("ints", json!([[1], [2, 3]]), "form"),
        ("ints", json!(["SECRET"]), "a list with text in it"),
        ("ints", json!(1), "takes a list"),
        ("ints", json!([[[[[[[1]]]]]]]), "too deeply"),
    ] {
        let insert = json!({"table": "v", "rows": [{"id": 999, (column): given}]});
        let failure = bench.call("db.insert", &insert).await.unwrap_err();
        let text = serde_json::to_string(&failure).unwrap();
        assert!(text.contains(expected), "{column} {given}: {text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
}
