//! One error enum for the crate: a variant per failure, each message one line for people.

/// Everything that can go wrong in the core. No operation panics on bad input.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("{op}: {what} is {found}, expected {expected}")]
    Shape {
        op: &'static str,
        what: &'static str,
        found: String,
        expected: String,
    },
    #[error("{op}: {what} {value} at position {position} is out of range (0 to {max})")]
    IndexRange {
        op: &'static str,
        what: &'static str,
        value: i64,
        position: usize,
        max: usize,
    },
    #[error("{op}: {what} is {value}, expected {expected}")]
    Value {
        op: &'static str,
        what: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("tensor handle {0} does not exist (it was freed, or its scope has ended)")]
    NoSuchTensor(u32),
    #[error("{op}: tensor {handle} holds {found}, expected {expected}")]
    Kind {
        op: &'static str,
        handle: u32,
        found: &'static str,
        expected: &'static str,
    },
    #[error("instruction set '{name}' is not available here; found: {available}")]
    UnknownIsa { name: String, available: String },
    #[error("out of memory: {bytes} bytes for {what} could not be allocated")]
    OutOfMemory { bytes: usize, what: &'static str },
    #[error("internal error: {0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;
