//! Seeded faults: what is broken on purpose is data (`corpus/*.yaml`), and a fixed set of means breaks it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod corpus;
pub(crate) mod overlay;
pub(crate) mod table;
pub(crate) mod trouble;
