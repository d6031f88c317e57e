//! One file per command.

pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod validate;
