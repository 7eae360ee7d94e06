//! The journal seen from outside: what it promises, over a scripted disk and over real files.

#![expect(clippy::unwrap_used, reason = "test code, helpers included")]

mod archive;
mod bed;
mod copy;
mod covered;
mod damage;
mod faults;
mod files;
mod fuzz;
mod golden;
mod model;
mod power;
mod replica;
mod sigbus;
mod table;
