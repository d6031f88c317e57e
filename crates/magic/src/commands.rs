//! One file per command.

mod archive;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod canary;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod executions;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod new;
pub(crate) mod nodes;
pub(crate) mod policy;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod validate;
pub(crate) mod versions;
