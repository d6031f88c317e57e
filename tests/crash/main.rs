//! What survives when the supervisor does not.
//!
//! Two controllers have every kind of effect: one books a row, a message and a cache entry in one request, the other takes
//! messages and notes that it has seen them. Clients ask both under load and write down what they were told. The supervisor is
//! killed at some moment, and afterwards the books must agree with what is there: everything that was acknowledged, nothing of
//! what was refused, nothing half, and the audit log whole.
//!
//! A kill loses nothing that was written, since the kernel lives on. So a second test takes away what was written and not
//! synced, as a power cut may, and a third lets syncing fail.

#[path = "../support/support.rs"]
mod support;

mod books;
mod breaking;
mod disk;
mod kill;
mod life;
mod naming;
mod power;
