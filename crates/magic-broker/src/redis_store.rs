//! The connection to Redis that queue and cache share.
//!
//! This is the one file that knows the client library: the rest of the crate
//! sends commands and scripts as texts and reads replies. Only commands that
//! Redis 6.2 and every Valkey have are sent. One connection carries all of them,
//! many at a time; when it is lost, the calls of that moment fail as retriable
//! and the next call connects anew, so an outage needs nobody to restart
//! anything. Nothing waits long for a server that does not answer: each try is
//! bounded here, and each call by its request's deadline besides.
//!
//! The URL may hold a password. It is taken apart once and never shown; messages
//! name host and port.
//!
//! The server is trusted as a database is: whoever can write to it can make up
//! messages. It must not evict keys (`maxmemory-policy noeviction`) if it holds
//! queues, and it keeps what was acknowledged as well as its `appendonly` and
//! `appendfsync` say. Cluster mode is not supported.

use crate::store::StoreError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, ErrorKind, IntoConnectionInfo as _, RedisError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use redis::{FromRedisValue as Reply, Script};

const STORE: &str = "Redis server";

/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// How long one call may take, connecting included.
const CALL: Duration = Duration::from_secs(5);

/// How long sent bytes may go unacknowledged by the other side's kernel
/// (`TCP_USER_TIMEOUT`, tcp(7)).
const SILENCE: Duration = Duration::from_secs(5);

/// One Redis server, or one that speaks its protocol.
pub struct RedisStore {
    manager: ConnectionManager,
    client: Client,
    address: String,
}

/// The URL cannot be used. It is not repeated, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// It has another form.
    #[error(
        "the Redis URL must read redis://[user:password@]host[:port][/database] or unix:///path"
    )]
    Form,
    /// It asks for TLS.
    #[error(
        "the Redis URL asks for TLS, which this build cannot speak; use redis:// within a private \
         network, or a TLS tunnel on this host"
    )]
    Tls,
}

impl RedisStore {
    /// Prepares the connection, which is made by the first call. Must run
    /// within the asynchronous runtime.
    ///
    /// # Errors
    ///
    /// The URL cannot be used.
    pub fn connect(url: &str) -> Result<Arc<Self>, RedisUrlError> {
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(RedisUrlError::Tls);
        }
        // A command that times out does not end the connection: its answer may be on the way. If
        // nothing is, the kernel ends it after this long, and the next call connects anew.
        // Small commands must not wait for each other's acknowledgement (Nagle's algorithm).
        let sockets = TcpSettings::default()
            .set_user_timeout(SILENCE)
            .set_nodelay(true);
        let information = url
            .into_connection_info()
            .map_err(|_| RedisUrlError::Form)?
            .set_tcp_settings(sockets);
        let client = Client::open(information).map_err(|_| RedisUrlError::Form)?;
        let address = client.get_connection_info().addr().to_string();
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            // Each call is a try of its own; a caller should hear of an outage at once.
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)
            .map_err(|_| RedisUrlError::Form)?;
        Ok(Arc::new(Self {
            manager,
            client,
            address,
        }))
    }

    /// Host and port of the server, for whoever must keep others away from it;
    /// a unix socket has none.
    #[must_use]
    pub fn endpoint(&self) -> Option<(String, u16)> {
        match self.client.get_connection_info().addr() {
            redis::ConnectionAddr::Tcp(host, port) => Some((host.clone(), *port)),
            _ => None,
        }
    }

    /// Asks the server for a sign of life, for readiness checks.
    ///
    /// # Errors
    ///
    /// It does not answer, or refuses the credentials.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.command::<String>("PING", &[]).await.map(|_| ())
    }

    /// Sends one command.
    pub(crate) async fn command<T: Reply>(
        &self,
        name: &str,
        arguments: &[&str],
    ) -> Result<T, StoreError> {
        let mut command = redis::cmd(name);
        command.arg(arguments);
        let mut connection = self.manager.clone();
        self.bounded(async move { command.query_async(&mut connection).await })
            .await
    }

    /// Runs one script, which the server does as a whole or not at all.
    pub(crate) async fn script<T: Reply>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&str],
    ) -> Result<T, StoreError> {
        let mut call = script.prepare_invoke();
        call.key(keys).arg(arguments);
        let mut connection = self.manager.clone();
        self.bounded(async move { call.invoke_async(&mut connection).await })
            .await
    }

    /// Hears what is published on a channel, on a connection of its own, until
    /// that is lost. `heard` is called with each message, and once with nothing
    /// as soon as listening begins.
    pub(crate) async fn listen(
        &self,
        channel: &str,
        heard: impl Fn(Option<&str>) + Send,
    ) -> Result<(), StoreError> {
        use futures_util::StreamExt as _;
        /// After this long without a message the server is asked for a sign of life.
        const QUIET: Duration = Duration::from_secs(15);
        let subscribed = self.bounded(async {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok(subscription)
        });
        let (mut sink, mut stream) = subscribed.await?.split();
        heard(None);
        loop {
            match tokio::time::timeout(QUIET, stream.next()).await {
                Ok(Some(message)) => {
                    if let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) {
                        heard(Some(text));
                    }
                }
                Ok(None) => return Err(self.unreachable("the subscription ended")),
                Err(_) => {
                    self.bounded(async { sink.ping::<redis::Value>().await })
                        .await?;
                }
            }
        }
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(CALL, work).await {
            Ok(result) => result.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.unreachable("no answer in time")),
        }
    }

    /// What an error means: states that pass by themselves are retriable.
    fn failed(&self, error: &RedisError) -> StoreError {
        let passes = error.kind() == ErrorKind::Io
            || matches!(
                error.code(),
                Some(
                    "LOADING"
                        | "BUSY"
                        | "MASTERDOWN"
                        | "READONLY"
                        | "TRYAGAIN"
                        | "CLUSTERDOWN"
                        | "OOM"
                        | "MISCONF"
                        | "NOREPLICAS"
                )
            );
        if passes {
            self.unreachable(&error.to_string())
        } else {
            StoreError::Failed {
                store: STORE,
                note: format!("{}: {error}", self.address),
            }
        }
    }

    fn unreachable(&self, note: &str) -> StoreError {
        StoreError::Unreachable {
            store: STORE,
            note: format!("{}: {note}", self.address),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStore")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../../../tests/support/redis.rs"]
#[expect(dead_code, reason = "the tests of the binary use the rest")]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
