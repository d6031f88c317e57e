//! One table of promises, kept by both back ends.

use super::*;
use crate::redis_store::test_server::Redis;
use magic_contract::QueueName;
use std::collections::HashSet;
use tokio::task::JoinSet;

mod crash;
mod foreign;
mod promises;

/// Waits for something that happens by itself; too long is a failed test.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what)
        .await
        .expect("it did not happen in time")
}

fn shared(name: &str) -> QueueKey {
    QueueKey::shared(&name.parse::<QueueName>().unwrap())
}

fn private(controller: &str, name: &str) -> QueueKey {
    QueueKey::private(&controller.parse().unwrap(), &name.parse().unwrap())
}

const NONE: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

/// Short enough to be waited for, long enough not to be over by accident.
const SHORT: Duration = Duration::from_millis(150);

async fn embedded(options: QueueOptions) -> (tempfile::TempDir, Queues) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queues = Queues::open_embedded(&path, options).await.unwrap();
    (folder, queues)
}

fn redis(options: QueueOptions) -> (Redis, Queues) {
    let server = Redis::start();
    let queues = Queues::connect(&server.socket_url(), "node", options).unwrap();
    (server, queues)
}

/// Both back ends, each with what keeps it alive.
pub(crate) async fn both(options: QueueOptions) -> Vec<(Box<dyn std::any::Any>, Queues)> {
    let (folder, local) = embedded(options.clone()).await;
    let (server, remote) = redis(options);
    vec![(Box::new(folder), local), (Box::new(server), remote)]
}

/// Runs each test on both back ends.
macro_rules! promises {
    ($($(#[doc = $doc:literal])* $name:ident($options:expr);)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                let (_folder, queues) = super::embedded($options).await;
                soon(super::promises::$name(queues)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                let (_server, queues) = super::redis($options);
                soon(super::promises::$name(queues)).await;
            }
        })*
    };
}

promises! {
    a_message_goes_round(QueueOptions::default());
    messages_come_in_order(QueueOptions::default());
    an_identity_is_one_message(QueueOptions { remember: SHORT, ..QueueOptions::default() });
    a_lease_ends(QueueOptions { visibility: SHORT, ..QueueOptions::default() });
    a_lease_can_be_changed(QueueOptions::default());
    receipts_belong_to_their_queue(QueueOptions::default());
    released_messages_come_back(QueueOptions::default());
    poison_dies_of_releases(QueueOptions { attempts: 3, ..QueueOptions::default() });
    poison_dies_of_crashes(QueueOptions { attempts: 2, visibility: Duration::from_millis(20), ..QueueOptions::default() });
    poison_does_not_hide_what_is_behind(QueueOptions { attempts: 1, ..QueueOptions::default() });
    hopeless_messages_die_at_once(QueueOptions::default());
    a_backlog_is_bounded_in_messages(QueueOptions { backlog_messages: 2, attempts: 1, ..QueueOptions::default() });
    a_backlog_is_bounded_in_bytes(QueueOptions { backlog_bytes: 10, ..QueueOptions::default() });
    lengths_are_bounded(QueueOptions { body_bytes: 8, ..QueueOptions::default() });
    an_answer_fits_a_frame(QueueOptions { body_bytes: 2 * RECEIVE_BYTES, ..QueueOptions::default() });
    waiting_ends_with_a_publish(QueueOptions::default());
    sixteen_consumers_share_the_work(QueueOptions::default());
}
