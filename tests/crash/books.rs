//! What clients were told, and whether it is true.

use crate::life::Stores;
use crate::support::command::export;
use crate::support::server::{Answer, Server, wait_for};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The books of all lives of a server.
#[derive(Debug, Default)]
pub(crate) struct Books {
    next: AtomicU64,
    /// Answers to bookings.
    answers: AtomicU64,
    /// Identities that were booked, with their requests.
    acknowledged: Mutex<BTreeMap<u64, String>>,
    /// Identities whose requests were told that nothing of them is kept.
    refused: Mutex<BTreeSet<u64>>,
    /// Identities whose messages a reader was told to have taken.
    taken: Mutex<BTreeSet<u64>>,
}

impl Books {
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no panics").len()
    }

    /// How many bookings were answered in any way.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().expect("no panics").len()
    }

    /// Books until told to stop or until nobody answers.
    pub(crate) fn write(&self, address: SocketAddr, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            // Killed before it answered: either is right.
            let Some(answer) = Server::ask(address, "Ledger", &json!({ "id": id })) else {
                return;
            };
            self.note(id, &answer);
        }
    }

    /// Notes an answer to a request for `id`.
    pub(crate) fn note(&self, id: u64, answer: &Answer) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let effects = answer.body["error"]["details"]["effects"].as_str();
        match (answer.status, effects) {
            (200, _) => {
                let request = answer.body["request_id"].as_str().expect("an id");
                let mut acknowledged = self.acknowledged.lock().expect("no panics");
                acknowledged.insert(id, request.to_owned());
            }
            // It says that either is right.
            (_, Some("unknown" | "committed")) => {}
            _ => {
                self.refused.lock().expect("no panics").insert(id);
            }
        }
    }

    /// Takes messages until told to stop or until nobody answers.
    pub(crate) fn read(&self, address: SocketAddr, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let Some(answer) = Server::ask(address, "Reader", &json!({})) else {
                return;
            };
            if answer.status == 200 {
                let found = answer.body["result"]["found"].as_array().expect("a list");
                let found = found.iter().map(|id| id.as_u64().expect("a number"));
                self.taken.lock().expect("no panics").extend(found);
            }
        }
    }

    /// Compares the books with what there is, on a server that runs and is asked by nobody.
    pub(crate) fn check(&self, stores: &Stores, data: &Path) {
        wait_for("what was committed to be delivered", || {
            stores.outbox(data).is_empty().then_some(())
        });
        let numbers = |query: &str| -> BTreeSet<u64> {
            let rows = stores.rows(data, query);
            rows.iter()
                .map(|row| row.parse().expect("a number"))
                .collect()
        };
        let halves = numbers("SELECT id FROM ledger WHERE note <> 'both halves'");
        assert!(halves.is_empty(), "half of a request is kept: {halves:?}");
        let rows = numbers("SELECT id FROM ledger");
        let seen = numbers("SELECT id FROM seen");
        let mut messages = stores.messages(data);
        messages.extend(&seen);

        let acknowledged = self.acknowledged.lock().expect("no panics");
        let lost: Vec<_> = acknowledged
            .keys()
            .filter(|id| !rows.contains(id))
            .collect();
        assert!(lost.is_empty(), "acknowledged rows are lost: {lost:?}");
        let half: Vec<_> = rows.symmetric_difference(&messages).collect();
        assert!(
            half.is_empty(),
            "rows without their message, or the other way round: {half:?}"
        );
        let refused = self.refused.lock().expect("no panics");
        let kept: Vec<_> = rows
            .iter()
            .filter(|id| refused.contains(id) || **id % 7 == 0)
            .collect();
        assert!(kept.is_empty(), "requests that failed left rows: {kept:?}");
        let taken = self.taken.lock().expect("no panics");
        let unseen: Vec<_> = taken.difference(&seen).collect();
        assert!(
            unseen.is_empty(),
            "acknowledged messages without the row of their reader: {unseen:?}"
        );
    }

    /// Every acknowledged request has the record of its end and of its four calls, and no committed row is without the records
    /// of the calls that made it.
    pub(crate) fn check_records(&self, stores: &Stores, data: &Path) {
        let mut ended = BTreeSet::new();
        let mut calls = HashMap::<String, u32>::new();
        for record in export(data) {
            if record["controller"] != "Ledger" {
                continue;
            }
            let request = record["request_id"].as_str().unwrap_or_default().to_owned();
            match record["kind"].as_str() {
                Some("execution") if record["code"].is_null() => {
                    ended.insert(request);
                }
                Some("call") => *calls.entry(request).or_default() += 1,
                _ => {}
            }
        }
        for (id, request) in self.acknowledged.lock().expect("no panics").iter() {
            assert!(
                ended.contains(request),
                "the record of {request}, which booked {id}, is lost"
            );
        }
        for request in &ended {
            assert_eq!(calls.get(request), Some(&4), "calls of {request}");
        }
        let whole = calls.values().filter(|count| **count == 4).count();
        let rows = stores.rows(data, "SELECT id FROM ledger").len();
        assert!(
            whole >= rows,
            "{rows} rows were committed, and {whole} requests have the records of their calls"
        );
    }
}
