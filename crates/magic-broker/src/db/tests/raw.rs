//! Raw SQL: what is refused, what runs, and what values mean there.

use crate::db::testing::Bench;
use magic_contract::ErrorCode;
use serde_json::json;

const SCHEMA: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total NUMERIC(10, 2), made TIMESTAMPTZ, tag TEXT);
    CREATE TABLE logs (id INTEGER PRIMARY KEY, line TEXT);
    CREATE TABLE magic_outbox (id INTEGER PRIMARY KEY);
    INSERT INTO orders VALUES
        (1, 1.50, '2026-01-01 10:00:00+00:00', 'a'), (2, 2.25, NULL, 'SECRET');";

#[tokio::test]
async fn rows_come_back_with_their_types() {
    for mut bench in Bench::both(SCHEMA).await {
        let answer = bench
            .call(
                "db.raw",
                &json!({"sql": "SELECT id, total, made AS at FROM orders WHERE id = $1 -- one",
                        "params": [1]}),
            )
            .await
            .unwrap();
        assert_eq!(
            answer["columns"],
            json!({"total": "decimal", "at": "datetime"}),
            "{}",
            bench.name()
        );
        assert_eq!(answer["rows"][0]["id"], json!(1));
        assert_eq!(answer["count"], json!(1));
        let text = bench.facts["query_text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("SELECT id, total"), "{text}");
        for sql in [
            "WITH big AS (SELECT * FROM orders WHERE total > $1) SELECT count(*) AS n FROM big",
            "SELECT count(*) AS n FROM orders o JOIN orders p ON o.id = p.id AND o.total > $1",
            "SELECT max(n) AS n FROM (SELECT count(*) AS n FROM orders WHERE total > $1) AS q",
            "SELECT $1 + 0 - $1 + 2 AS n",
        ] {
            let answer = bench
                .call("db.raw", &json!({"sql": sql, "params": [1]}))
                .await;
            match answer {
                Ok(answer) => assert_eq!(answer["rows"], json!([{"n": 2}]), "{sql}"),
                Err(failure) => panic!("{}: {sql}: {failure:?}", bench.name()),
            }
        }
        let masked = json!({"sql": "SELECT id FROM orders WHERE tag = 'SECRET' AND total > 77"});
        bench.call("db.raw", &masked).await.unwrap();
        assert_eq!(
            bench.facts["query_text"],
            "SELECT id FROM orders WHERE tag = ? AND total > ?"
        );
        let hash = bench.facts["query_hash"].clone();
        let other = json!({"sql": "SELECT id FROM orders WHERE tag = 'x' AND total > 5"});
        bench.call("db.raw", &other).await.unwrap();
        assert_eq!(bench.facts["query_hash"], hash);
    }
}

#[tokio::test]
async fn changing_needs_the_right_to_write() {
    let insert = json!({"sql": "INSERT INTO logs (id, line) VALUES ($1, $2)", "params": [1, "x"]});
    let returning = json!({"sql": "WITH n AS (SELECT 7 AS id) \
        INSERT INTO logs (id, line) SELECT id, $1 FROM n RETURNING id, line", "params": ["y"]});
    for mut bench in Bench::both(SCHEMA).await {
        bench.may("[db:read, db:rawsql]");
        for params in [&insert, &returning] {
            let failure = bench.call("db.raw", params).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::CapabilityUndeclared, "{failure}");
            assert_eq!(failure.details["line"], "- db:write: { tables: [logs] }");
        }
        bench.may("[db:rawsql, {db:write: {tables: [orders]}}]");
        for sql in [
            "INSERT INTO logs (id) VALUES (1)",
            "INSERT INTO LOGS (id) VALUES (1)",
            "UPDATE logs SET line = 'x'",
            "DELETE FROM logs",
        ] {
            let failure = bench
                .call("db.raw", &json!({"sql": sql}))
                .await
                .unwrap_err();
            assert_eq!(
                failure.code,
                ErrorCode::TargetNotAllowed,
                "{sql}: {failure}"
            );
        }
        bench.may("[db:rawsql, {db:write: {tables: [logs]}}]");
        let answer = bench.call("db.raw", &insert).await.unwrap();
        assert_eq!(
            answer,
            json!({"columns": {}, "rows": [], "count": 1}),
            "{}",
            bench.name()
        );
        assert_eq!(bench.facts["operation"], "insert");
        assert_eq!(bench.facts["row_count"], 1);
        let answer = bench.call("db.raw", &returning).await.unwrap();
        assert_eq!(
            answer["rows"],
            json!([{"id": 7, "line": "y"}]),
            "{}",
            bench.name()
        );
        assert_eq!(answer["count"], json!(1));
        for (sql, count) in [
            ("UPDATE logs SET line = 'z' WHERE id > $1", 2),
            ("DELETE FROM logs WHERE id > $1", 2),
        ] {
            let answer = bench
                .call("db.raw", &json!({"sql": sql, "params": [0]}))
                .await
                .unwrap();
            assert_eq!(answer["count"], json!(count), "{}: {sql}", bench.name());
        }
    }
}

#[tokio::test]
async fn locks_and_side_effects_need_the_right_to_write() {
    let mut bench = Bench::postgres(SCHEMA).await;
    bench.sql("CREATE SEQUENCE numbers").await;
    let lock = json!({"sql": "SELECT id FROM orders WHERE id = 1 FOR UPDATE"});
    let number = json!({"sql": "SELECT nextval('numbers') AS n"});
    bench.may("[db:rawsql]");
    let failure = bench.call("db.raw", &lock).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::CapabilityUndeclared, "{failure}");
    let failure = bench.call("db.raw", &number).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::TargetNotAllowed, "{failure}");
    assert!(failure.message.contains("db:write"), "{failure}");
    bench.may("[db:rawsql, db:write]");
    assert!(bench.call("db.raw", &lock).await.is_ok());
    assert!(bench.call("db.raw", &number).await.is_ok());
    let merge = json!({"sql": "MERGE INTO logs USING orders ON logs.id = orders.id \
        WHEN NOT MATCHED THEN INSERT (id, line) VALUES (orders.id, orders.tag)"});
    assert_eq!(
        bench.call("db.raw", &merge).await.unwrap()["count"],
        json!(2)
    );
}

#[tokio::test]
async fn parameters_have_the_types_of_their_places() {
    let mut bench = Bench::postgres(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE v (u uuid, n numeric, j jsonb, m mood, ids int[], at timestamptz, y bytea)",
    )
    .await;
    let params = json!([
        {"$uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {"$decimal": "1.10"}, {"a": 1}, "ok",
        [1, 2], {"$datetime": "2026-01-01T10:00:00Z"}, {"$bytes": "AAE="}]);
    let insert = json!({"sql": "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *",
                        "params": params});
    let answer = bench.call("db.raw", &insert).await.unwrap();
    assert_eq!(
        answer["rows"][0],
        json!({"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "n": "1.10", "j": {"a": 1}, "m": "ok",
            "ids": [1, 2], "at": "2026-01-01T10:00:00+00:00", "y": "AAE="})
    );
    let any = json!({"sql": "SELECT n FROM v WHERE u = ANY($1) LIMIT $2",
                     "params": [["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], 5]});
    assert_eq!(bench.call("db.raw", &any).await.unwrap()["count"], json!(1));
    for (sql, params, expected) in [
        (
            "SELECT n FROM v WHERE u = $1",
            json!([77]),
            "parameter `$1` is uuid",
        ),
        ("SELECT n FROM v WHERE u = $1", json!([]), "placeholder"),
        ("SELECT n FROM v", json!([1]), "0 different placeholders"),
        (
            "SELECT n FROM v WHERE n = $2",
            json!([1, 2]),
            "1 different placeholders",
        ),
        ("SELECT n, n FROM v", json!([]), "the same name"),
        (
            "SELECT nn FROM v",
            json!([]),
            "a column that it names does not exist",
        ),
        (
            "SELECT n FROM vv",
            json!([]),
            "a table that it names does not exist",
        ),
        (
            "SELECT lower(n) AS n FROM v",
            json!([]),
            "values of these types",
        ),
    ] {
        let failure = bench
            .call("db.raw", &json!({"sql": sql, "params": params}))
            .await
            .unwrap_err();
        assert_eq!(
            failure.code,
            ErrorCode::ControllerFailed,
            "{sql}: {failure}"
        );
        assert!(failure.message.contains(expected), "{sql}: {failure}");
    }
}
