//! The documents, typed: files that a page shows are written, commands that it shows are run, and what it shows below them is compared.

mod contract;
mod links;
mod page;
mod pages;
#[path = "../support/repository.rs"]
mod repository;

use repository::{read, root};
