//! One run and one answer per key, on both databases.

use tokio::task::JoinSet;

use super::super::fixture::TestDatabase;
use super::super::session::{Access, Commit, CommitError, DatabaseSession};
use super::super::{Limits, OWN_TIME};
use super::*;

const LEASE: Duration = Duration::from_secs(600);

const REQUEST: IdempotentRequest<'static> = IdempotentRequest {
    controller: "InvoiceSync",
    key: "k1",
    caller: "ada",
    input_hash: "h1",
};

async fn new_token(idempotency: &Idempotency, lease: Duration) -> Token {
    match idempotency.claim(&REQUEST, lease).await.unwrap() {
        Claim::New(token) => token,
        other => panic!("{other:?}"),
    }
}

/// Stores an answer as a request without rows does.
async fn answer(test: &TestDatabase, token: &Token, answer: &str) -> Result<(), CommitError> {
    let limits = Limits {
        rows_per_call: 0,
        bytes_per_call: 0,
        writes_left: 0,
    };
    let access = Access {
        write: false,
        raw: false,
    };
    let until = Instant::now() + OWN_TIME;
    let session = DatabaseSession::new(test.database.clone(), access, until, limits);
    let commit = Commit {
        outbox: &[],
        idempotency: Some(IdempotentAnswer {
            token,
            answer,
            version: "1.2.0",
        }),
    };
    session.commit(commit).await.map(drop)
}

/// New, busy, stored, conflict; each key for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_runs_once_and_answers_for_ever() {
    for test in TestDatabase::both().await {
        let idempotency = test.database.idempotency();
        let token = new_token(&idempotency, LEASE).await;
        let other_input = IdempotentRequest {
            input_hash: "h2",
            ..REQUEST
        };
        let claim = async |request| idempotency.claim(&request, LEASE).await.unwrap();
        assert_eq!(claim(REQUEST).await, Claim::Busy);
        assert_eq!(claim(other_input).await, Claim::Conflict);
        answer(&test, &token, "{\"total\":1}").await.unwrap();
        let stored = Claim::Stored {
            answer: "{\"total\":1}".to_owned(),
            version: "1.2.0".to_owned(),
        };
        assert_eq!(claim(REQUEST).await, stored);
        assert_eq!(claim(other_input).await, Claim::Conflict);
        // A late release takes no answer away, and no second answer is stored.
        idempotency.release(&token).await.unwrap();
        answer(&test, &token, "{}").await.unwrap_err();
        assert_eq!(claim(REQUEST).await, stored);
        for (controller, key, caller) in [
            ("Other", "k1", "ada"),
            ("InvoiceSync", "k2", "ada"),
            ("InvoiceSync", "k1", "bob"),
        ] {
            let request = IdempotentRequest {
                controller,
                key,
                caller,
                ..REQUEST
            };
            assert!(matches!(claim(request).await, Claim::New(_)));
        }
    }
}

/// Of many at once exactly one runs.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_runs() {
    for test in TestDatabase::both().await {
        let mut claims = JoinSet::new();
        for _ in 0..20 {
            let idempotency = test.database.idempotency();
            claims.spawn(async move { idempotency.claim(&REQUEST, LEASE).await.unwrap() });
        }
        let mut new = 0;
        while let Some(claim) = claims.join_next().await {
            match claim.unwrap() {
                Claim::New(_) => new += 1,
                Claim::Busy => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(new, 1);
    }
}

/// A released key runs again; one whose process died runs again when its lease is
/// over, and whoever outlived the lease cannot commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_claim_cannot_commit() {
    for test in TestDatabase::both().await {
        let idempotency = test.database.idempotency();
        let released = new_token(&idempotency, LEASE).await;
        idempotency.release(&released).await.unwrap();
        let slow = new_token(&idempotency, Duration::ZERO).await;
        let fast = new_token(&idempotency, LEASE).await;
        let Err(CommitError::RolledBack(failure)) = answer(&test, &slow, "{}").await else {
            panic!("the key is another's");
        };
        assert_eq!(failure.details["retriable"], true);
        // Nor can it release what is another's.
        idempotency.release(&slow).await.unwrap();
        answer(&test, &fast, "{}").await.unwrap();
    }
}

/// After a day an answer is forgotten, by whoever asks first.
#[tokio::test(flavor = "multi_thread")]
async fn answers_expire() {
    for test in TestDatabase::both().await {
        let idempotency = test.database.idempotency();
        let token = new_token(&idempotency, LEASE).await;
        answer(&test, &token, "{}").await.unwrap();
        assert_eq!(idempotency.sweep().await.unwrap(), 0);
        let (sql, hours) = if test.server.is_some() {
            (
                "UPDATE magic.idempotency SET expires_at = expires_at - interval '24 hours'",
                "SELECT (extract(epoch FROM expires_at - clock_timestamp()) / 3600 + 0.5)::bigint FROM magic.idempotency",
            )
        } else {
            (
                "UPDATE magic_idempotency SET expires_at = expires_at - 86400000",
                "SELECT (expires_at / 1000 - unixepoch() + 1800) / 3600 FROM magic_idempotency",
            )
        };
        assert_eq!(test.number(hours).await, 24);
        test.run(sql).await;
        let token = new_token(&idempotency, LEASE).await;
        idempotency.release(&token).await.unwrap();
        let token = new_token(&idempotency, LEASE).await;
        answer(&test, &token, "{}").await.unwrap();
        test.run(sql).await;
        assert_eq!(idempotency.sweep().await.unwrap(), 1);
    }
}

/// A key that an index could not hold is refused.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bounded() {
    let test = TestDatabase::sqlite(|_| {}).await;
    let long = "k".repeat(256);
    let request = IdempotentRequest {
        key: &long,
        ..REQUEST
    };
    let idempotency = test.database.idempotency();
    idempotency.claim(&request, LEASE).await.unwrap_err();
    let request = IdempotentRequest {
        key: &long[1..],
        ..REQUEST
    };
    idempotency.claim(&request, LEASE).await.unwrap();
}
