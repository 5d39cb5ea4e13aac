//! Errors of code outside this crate that reads a base for it.

use model::diagnostic::error_chain;
use std::error::Error;
use std::fmt;

/// An error of the caller's base reader, whose kinds this crate does not know.
#[derive(Debug)]
pub struct BaseError(Box<dyn Error + Send + Sync>);

impl BaseError {
    /// Wraps the caller's error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> BaseError {
        BaseError(Box::new(error))
    }
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(&*self.0))
    }
}

impl Error for BaseError {}
